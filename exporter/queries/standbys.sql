-- Who streams WAL from here, and how far the slowest is behind; on a replica those that stream from it. `hidden` rows
-- are of other roles. Postgres forgets a lag in time after a pause: NULL, unless all has been replayed.
with standbys as materialized (
  select state, sync_state, replay_lag, replay_lsn,
         case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
           - replay_lsn as behind
  from pg_stat_replication
)
select count(*) filter (where state is null) as hidden,
       count(*) filter (where state <> 'backup') as mlflow_db_standbys,
       count(*) filter (where sync_state in ('sync', 'quorum')) as mlflow_db_synchronous_standbys,
       max(case when behind < 0 then 0 else behind end)::float8 as mlflow_db_standby_lag_bytes,
       max(case when behind <= 0 then 0 else extract(epoch from replay_lag) end)::float8
         as mlflow_db_standby_lag_seconds
from standbys
