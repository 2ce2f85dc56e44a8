-- Before 14 Postgres counts no WAL: where it stands in the WAL is the count, which a replica only copies.
select case when not pg_is_in_recovery() then pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 end
         as mlflow_db_wal_bytes_total
