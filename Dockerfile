# One image for the orchestrator, its worker, its migrations and the reference participants.
FROM python:3.11.13-slim-bookworm

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /app
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt

# The code belongs to root and is not writable by the process; /data is for the participants' databases.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin saga \
    && install --directory --owner=saga /data
COPY . .
USER 10001

EXPOSE 8009
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=12 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8009/health', timeout=2)"]
CMD ["gunicorn", "saga_service.wsgi:application", "--config", "saga_service/gunicorn_conf.py", "--bind", "0.0.0.0:8009"]
