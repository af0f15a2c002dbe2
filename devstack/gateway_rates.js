/* Kong's rate-limiting plugin with policy "local": a counter for each consumer, place and clock minute. */

function over(r) {
    const limit = Number(r.variables.kong_rate_minute);
    const second = Math.floor(Date.now() / 1000);
    const reset = 60 - second % 60;
    const counter = `${r.variables.kong_rate_scope}|${r.variables.kong_consumer_id}|${Math.floor(second / 60)}`;
    const used = ngx.shared.rates.incr(counter, 1, 0);
    r.variables.kong_rate_limit = String(limit);
    r.variables.kong_rate_remaining = String(Math.max(0, limit - used));
    r.variables.kong_rate_reset = String(reset);
    if (used <= limit) {
        return '';
    }
    r.variables.kong_retry_after = String(reset);
    return '1';
}

export default { over };
