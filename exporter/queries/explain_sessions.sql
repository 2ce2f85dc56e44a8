-- Sessions of MLflow's database by where they come from and what they do; samples of it tell the time
-- in SQL from the time between two statements of a transaction, in which Python works, and from
-- waiting for a lock, which no statement that has ended tells of.
select usename::text as "user", coalesce(host(client_addr), 'socket') as address,
       left(application_name, 100)::text as application,
       count(*)::int as mlflow_db_sessions,
       (count(*) filter (where state = 'active' and wait_event is distinct from 'ClientRead'))::int as active,
       (count(*) filter (where state like 'idle in transaction%'
                         or (state = 'active' and wait_event = 'ClientRead')))::int as between_statements,
       (count(*) filter (where wait_event_type = 'Lock'))::int as waiting
from pg_stat_activity
where datname = current_database() and usesysid is not null and pid <> pg_backend_pid()
  and coalesce(backend_type, 'client backend') = 'client backend' and application_name <> 'mlflow-exporter'
group by 1, 2, 3
order by 4 desc
limit 50
