-- Replication slots, which keep WAL until it has been fetched, however much that is, unless max_slot_wal_keep_size
-- ends it; those of a base backup, which end with it, are left out.
with slots as materialized (
  select active, wal_status,
         case when pg_is_in_recovery() then pg_last_wal_replay_lsn() else pg_current_wal_lsn() end - restart_lsn as kept
  from pg_replication_slots
  where not temporary
)
select count(*) as mlflow_db_replication_slots,
       count(*) filter (where not active) as mlflow_db_replication_slots_inactive,
       count(*) filter (where wal_status = 'lost') as mlflow_db_replication_slots_lost,
       max(case when kept < 0 then 0 else kept end)::float8 as mlflow_db_replication_slot_retained_bytes
from slots
