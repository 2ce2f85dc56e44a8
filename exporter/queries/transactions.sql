-- Ages of what is open in MLflow's database, and who waits for a lock; no rows of ours.
-- The leader of a pg_dump -j is idle in transaction while its workers dump: a backup at work is nobody's forgotten
-- session. One that has been open for 12 hours hangs, or is in the way all day, and counts.
-- pg_blocking_pids locks the lock manager for a moment, so at most 50 waiters are asked.
with sessions as materialized (
  select pid, state, xact_start, state_change, query_start, wait_event_type, backend_type is null as hidden,
         application_name = 'pg_dump' and xact_start > clock_timestamp() - interval '12 hours' as dumping
  from pg_stat_activity
  where datname = current_database() and usesysid is not null and pid <> pg_backend_pid()
    and coalesce(backend_type, 'client backend') = 'client backend'
), waiting as materialized (
  select pid, query_start from sessions where wait_event_type = 'Lock' and state = 'active'
)
select count(*) filter (where hidden) as hidden,
       coalesce(max(extract(epoch from clock_timestamp() - xact_start)), 0)::float8
         as mlflow_db_oldest_transaction_seconds,
       coalesce(max(extract(epoch from clock_timestamp() - state_change))
                filter (where state like 'idle in transaction%' and dumping is not true), 0)::float8
         as mlflow_db_oldest_idle_in_transaction_seconds,
       (select count(*) from waiting) as mlflow_db_lock_waiters,
       (select coalesce(max(extract(epoch from clock_timestamp() - query_start)), 0)::float8 from waiting)
         as mlflow_db_longest_lock_wait_seconds,
       (select count(distinct b) from (select pid from waiting limit 50) w, unnest(pg_blocking_pids(w.pid)) b)
         as mlflow_db_lock_blockers
from sessions
