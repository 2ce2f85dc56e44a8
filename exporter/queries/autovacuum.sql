-- Autovacuum of the whole server. Its workers are the only sessions with a database and no user; their type is hidden
-- from a role without pg_read_all_stats. Ids are used up at 2^31, and the oldest database counts for all.
select (select count(*) from pg_stat_activity
        where datid is not null and usesysid is null
          and coalesce(backend_type, 'autovacuum worker') = 'autovacuum worker') as mlflow_db_autovacuum_workers,
       (select max(greatest(age(datfrozenxid), mxid_age(datminmxid))) / 2147483648::float8 from pg_database)
         as mlflow_db_transaction_id_age_ratio
