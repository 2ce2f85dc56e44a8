-- What connections of any database count against; before 16 there was no reserved_connections.
-- Walsenders have slots of their own since 12, background workers always had.
with clients as materialized (
  select usesysid from pg_stat_activity
  where usesysid is not null and coalesce(backend_type, 'client backend') = 'client backend'
)
select current_setting('max_connections')::int as mlflow_db_connections_limit,
       current_setting('superuser_reserved_connections')::int
         + coalesce(current_setting('reserved_connections', true)::int, 0) as mlflow_db_connections_reserved,
       (select count(*) from clients) as mlflow_db_connections_used,
       nullif(d.datconnlimit, -1) as mlflow_db_database_connections_limit,
       r.rolname::text as usename,
       case when r.oid is not null then (select count(*) from clients c where c.usesysid = r.oid) end
         as mlflow_db_role_connections,
       nullif(r.rolconnlimit, -1) as mlflow_db_role_connections_limit
from pg_database d
left join pg_class c on c.relnamespace = {store_oid} and c.relname = 'alembic_version'
left join pg_roles r on r.oid = c.relowner
where d.datname = current_database()
