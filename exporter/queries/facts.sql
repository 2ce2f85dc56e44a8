-- mlflow-exporter: what the other queries depend on; read with every scrape, since each of it can change under us.
-- MLflow's schema is where both of its tables are; the role's own search path decides between several.
with store as (
  select n.nspname
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.relname in ('alembic_version', 'experiments') and c.relkind in ('r', 'p')
  group by n.nspname
  having count(*) = 2
  order by array_position(current_schemas(false), n.nspname) nulls last, n.nspname
  limit 1
)
select current_setting('server_version_num')::int as version_num,
       split_part(current_setting('server_version'), ' ', 1) as version,
       pg_is_in_recovery() as in_recovery,
       current_database()::text as database,
       current_user::text as role,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees_all,
       (select nspname::text from store) as store_schema,
       coalesce((select has_schema_privilege(nspname, 'usage') from store), false) as store_visible,
       (select n.nspname::text from pg_catalog.pg_extension e
        join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        where e.extname = 'pg_stat_statements') as statements_schema
