-- How old a replica's data may be; no row on a primary. The age of the last transaction replayed grows with a primary
-- that has nothing to do, so a replica that is connected and has replayed all that it received is 0 behind.
with replica as materialized (
  select (select count(pid) > 0 from pg_stat_wal_receiver) as receiving,
         extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())::float8 as age,
         (pg_last_wal_receive_lsn() - pg_last_wal_replay_lsn())::float8 as behind
  where pg_is_in_recovery()
)
select receiving::int as mlflow_db_replica_receiving,
       case when receiving and behind <= 0 or age < 0 then 0 else age end as mlflow_db_replica_lag_seconds,
       case when behind < 0 then 0 else behind end as mlflow_db_replica_lag_bytes
from replica
