-- What the named settings are for sessions of MLflow's role (who owns its tables) in this database: given to the role
-- in the database, else to the role, else to the database, else to all, else as our own session found it at its start.
-- That last one is the server's value only where nobody has given our own role another one: else it is unknown.
-- fsync and full_page_writes are left out where Postgres does not write to its own disk and has them off for that
-- reason: Neon, Aurora.
-- Once a minute, since pg_settings makes all its rows: 2 to 4 ms.
with mlflow_db_wanted (name) as (
  select unnest(array[
    'autovacuum', 'autovacuum_max_workers', 'autovacuum_vacuum_insert_scale_factor',
    'autovacuum_vacuum_scale_factor', 'checkpoint_completion_target', 'checkpoint_timeout', 'effective_cache_size',
    'fsync', 'full_page_writes', 'hot_standby_feedback',
    'idle_in_transaction_session_timeout', 'jit', 'maintenance_work_mem', 'max_slot_wal_keep_size',
    'max_standby_streaming_delay', 'max_wal_size', 'random_page_cost', 'shared_buffers', 'statement_timeout',
    'synchronous_commit', 'synchronous_standby_names', 'track_io_timing', 'track_wal_io_timing', 'wal_buffers',
    'wal_level', 'work_mem'
  ])
), special as materialized (
  -- `given` is the most special value that counts for MLflow's sessions, `hides` that our own role has one.
  select split_part(pair, '=', 1) as name,
         (array_agg(substr(pair, strpos(pair, '=') + 1) order by s.setrole <> 0 desc, s.setdatabase <> 0 desc)
            filter (where s.setrole = 0 or s.setrole = owner.relowner))[1] as given,
         bool_or(r.rolname = session_user) as hides
  from pg_db_role_setting s
  left join pg_class owner on owner.relnamespace = {store_oid} and owner.relname = 'alembic_version'
  left join pg_roles r on r.oid = s.setrole
  cross join unnest(s.setconfig) pair
  where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))
  group by 1
), effective as (
  select p.name, p.vartype, p.unit,
         lower(coalesce(s.given, case when s.hides is not true then p.reset_val end)) as value
  from pg_settings p
  join mlflow_db_wanted using (name)
  left join special s using (name)
  where (pg_is_in_recovery() or name not in ('hot_standby_feedback', 'max_standby_streaming_delay')) -- of replicas
    and (name not in ('fsync', 'full_page_writes')
         or current_setting('neon.timeline_id', true) is null and to_regproc('aurora_version') is null)
), parsed as (
  -- As 64MB, 1.5GB, 30s or, in the setting's own unit, 8192. No number in -1, which is no limit.
  select name, vartype, value, n[1]::float8 as number,
         coalesce(nullif(n[2], ''), lower(regexp_replace(unit, '^\d+', ''))) as unit,
         -- The own unit of some is a block, 8kB.
         case when n[2] = '' then coalesce(nullif(regexp_replace(unit, '\D', '', 'g'), '')::float8, 1) else 1 end as per
  from effective
  left join lateral regexp_match(value, '^\s*(\d*\.?\d+)\s*([a-z]*)\s*$') n on vartype in ('integer', 'real')
)
select name,
       case when vartype <> 'enum' then null
            when value in ('true', 'yes', '1') then 'on' when value in ('false', 'no', '0') then 'off'
            else value end as value,
       case when vartype = 'enum' and value is not null then 1 end as mlflow_db_setting_info,
       number * per * size.bytes as mlflow_db_setting_bytes,
       number * per * duration.seconds as mlflow_db_setting_seconds,
       case vartype when 'bool' then value::bool::int
                    when 'string' then (value <> '')::int
                    else case when parsed.unit is null then number end end as mlflow_db_setting
from parsed
left join (values ('b', 1::float8), ('kb', 1024), ('mb', 1048576), ('gb', 1073741824), ('tb', 1099511627776))
  size (unit, bytes) using (unit)
left join (values ('us', 1e-6::float8), ('ms', 0.001), ('s', 1), ('min', 60), ('h', 3600), ('d', 86400))
  duration (unit, seconds) using (unit)
order by 1
