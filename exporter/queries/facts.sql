-- What the other queries depend on; read with every scrape, since each of it can change under us.
-- MLflow's schema is where both of its tables are; of several the one that we may use, then the largest.
with store as (
  select n.oid, n.nspname, has_schema_privilege(n.oid, 'usage') as visible
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where c.relname in ('alembic_version', 'experiments') and c.relkind in ('r', 'p')
  group by n.oid, n.nspname
  having count(*) = 2
  order by visible desc, max(c.relpages) desc, n.nspname
  limit 1
), extension as (
  select n.nspname, has_schema_privilege(n.oid, 'usage') as visible
  from pg_extension e
  join pg_namespace n on n.oid = e.extnamespace
  where e.extname = 'pg_stat_statements'
)
select current_setting('server_version_num')::int as version_num,
       split_part(current_setting('server_version'), ' ', 1) as version,
       pg_is_in_recovery() as in_recovery,
       current_database()::text as database,
       current_user::text as role,
       (select rolsuper from pg_roles where rolname = current_user) as superuser,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_all,
       current_setting('track_io_timing')::bool as io_timing,
       (select count(*) from pg_database where not datistemplate and datname not in ('postgres', current_database()))
         as neighbours,
       (select oid::bigint from store) as store_oid,
       (select nspname::text from store) as store_schema,
       coalesce((select visible from store), false) as store_visible,
       (select nspname::text from extension) as statements_schema,
       coalesce((select visible from extension), false) as statements_visible
