# A tracking server as the exporter's tests run it. Any other image of MLflow with psycopg and
# prometheus-flask-exporter will do.
FROM python:3.13.11-slim-trixie
COPY tests/lab/mlflow-constraints.txt /opt/constraints.txt
RUN python3 -m venv /opt/mlflow \
 && /opt/mlflow/bin/pip install --no-cache-dir --constraint /opt/constraints.txt \
        mlflow 'psycopg[binary]' prometheus-flask-exporter \
 && install -d -o 10001 -g 10001 /var/lib/mlflow
ENV PATH=/opt/mlflow/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s \
    CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["mlflow", "server", "--host", "0.0.0.0"]
