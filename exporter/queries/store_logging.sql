-- How fast the runs under way log, of the 200 that started last and have not ended. To find them reads all of `runs`,
-- so rarely. The rest is bounded: 500 keys and 1,001 parameters of each, and 200 points of one key of twenty of them.
-- Points are read only through an index on (run_uuid, key, step), which MLflow has since 3.12: without it that would
-- be all points of those runs. Times are those that the clients gave, in milliseconds.
with running as materialized (
  select run_uuid, start_time
  from runs
  where status = 'RUNNING' and lifecycle_stage = 'active'
  order by start_time desc nulls last
  limit 200
), latest as materialized (
  select r.run_uuid, r.start_time, l.key, l.step, l.timestamp
  from running r
  cross join lateral (
    select few.key, few.step, few.timestamp
    from (select key, step, timestamp from latest_metrics where run_uuid = r.run_uuid limit 500) few
    order by few.step desc, few.timestamp desc
    limit 1
  ) l
  where l.timestamp > (extract(epoch from now()) - 600) * 1000
), points as materialized (
  select count(*) as points, max(p.timestamp) - min(p.timestamp) as milliseconds
  from (select run_uuid, key from latest order by step desc limit 20) l
  cross join lateral (
    select m.timestamp
    from metrics m
    where m.run_uuid = l.run_uuid and m.key = l.key and (select exists (
      select from pg_index x
      where x.indrelid = to_regclass('metrics') and x.indisvalid and array['run_uuid', 'key', 'step'] = (
        select array_agg(a.attname::text order by k.n)
        from unnest(x.indkey::int2[]) with ordinality k (attribute, n)
        join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attribute
        where k.n <= 3
      )
    ))
    order by m.step desc
    limit 200
  ) p
  group by l.run_uuid
)
select (select count(*) from latest) as mlflow_store_logging_runs,
       (select max((step + 1) * 1000.0 / (timestamp - start_time))::float8 from latest
        where step > 0 and timestamp > start_time) as mlflow_store_fastest_run_steps_per_second,
       (select max((points - 1) * 1000.0 / milliseconds)::float8 from points
        where points >= 20 and milliseconds > 0) as mlflow_store_fastest_run_points_per_second,
       (select max(p.params) from running r cross join lateral (
          select count(*) as params from (select from params where run_uuid = r.run_uuid limit 1001) few
        ) p) as mlflow_store_max_params_per_run
