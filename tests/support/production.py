"""An environment that production could have."""

PRODUCTION = {
    "SECRET_KEY": "s3cret-of-django",
    "KONG_API_KEY": "s3cret-of-the-gateway",
    "GATEWAY_SHARED_SECRET": "s3cret-that-the-gateway-adds",
    "ALLOWED_HOSTS": "saga.example",
    "DATABASE_URL": "postgresql://saga:s3cret@db/saga",
}
