-- What the exporter may read of MLflow's tables, granted at each `docker compose up` once MLflow has made them.
\set ON_ERROR_STOP on
GRANT USAGE ON SCHEMA public TO exporter;
GRANT SELECT ON experiments, runs, metrics, latest_metrics, params, tags, alembic_version TO exporter;
GRANT SELECT ON inputs, input_tags, datasets, experiment_tags TO exporter;
