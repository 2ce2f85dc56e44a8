-- Who streams WAL from here, and how far the slowest standby is behind; on a replica those that stream from it. A
-- standby is who replays all of it: not who decodes it (change capture, subscriptions), nor who stores it (backups).
-- `hidden` rows are of other roles. Postgres forgets a lag in time after a pause: NULL, unless all has been replayed.
with receivers as materialized (
  select r.state, r.sync_state, r.replay_lag,
         r.state <> 'backup' and r.application_name not in ('pg_basebackup', 'pg_receivewal')
           and not exists (select from pg_replication_slots s where s.active_pid = r.pid and s.slot_type = 'logical')
           as standby,
         case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end
           - r.replay_lsn as behind
  from pg_stat_replication r
)
select count(*) filter (where state is null) as hidden,
       count(*) filter (where standby) as mlflow_db_standbys,
       count(*) filter (where sync_state in ('sync', 'quorum')) as mlflow_db_synchronous_standbys,
       max(case when behind < 0 then 0 else behind end) filter (where standby)::float8 as mlflow_db_standby_lag_bytes,
       max(case when behind <= 0 then 0 else extract(epoch from replay_lag) end) filter (where standby)::float8
         as mlflow_db_standby_lag_seconds
from receivers
