-- What the 200 runs log that started last and have not ended. To find them reads all of `runs`, so rarely. The rest is
-- bounded: 500 keys and 1,001 parameters of each run, and of ten keys, the one of each run that is furthest, the
-- points of a minute or the last 20,000. Those lie together in the primary key of `metrics` (key, timestamp, ...),
-- whatever steps users log or not. Times are those that the clients gave, in milliseconds.
-- 100,000 runs, 1 million points: 33 ms, 2,041 blocks of `runs` and 1,443 others; 1,000,000 runs, 10 million points:
-- 109 ms, 20,408 and 1,661. Ten keys with 20,000 points or more in that minute: 100 ms and 7,000 blocks more.
with mlflow_store_running as materialized (
  select run_uuid
  from {store}.runs
  where status = 'RUNNING' and lifecycle_stage = 'active'
  order by start_time desc nulls last
  limit 200
), latest as materialized (
  select l.key, l.step, l.timestamp
  from mlflow_store_running r
  cross join lateral (
    select few.key, few.step, few.timestamp
    from (select key, step, timestamp from {store}.latest_metrics where run_uuid = r.run_uuid limit 500) few
    order by few.step desc, few.timestamp desc
    limit 1
  ) l
  -- A clock that is ahead would move the minute to where nobody else has logged yet.
  where l.timestamp between (extract(epoch from now()) - 600) * 1000 and (extract(epoch from now()) + 60) * 1000
), keys as materialized (
  select key, max(timestamp) as until from latest group by key order by max(step) desc, max(timestamp) desc limit 10
), fastest as materialized (
  select max(run.points) * 1000.0
           / case when sum(run.points) < 20000 then 60000 else greatest(1, k.until - min(run.first)) end as rate
  from keys k
  cross join lateral (
    select count(*) as points, min(timestamp) as first
    from (
      select run_uuid, timestamp
      from {store}.metrics
      where key = k.key and timestamp > k.until - 60000 and timestamp <= k.until
      order by timestamp desc
      limit 20000
    ) few
    group by run_uuid
  ) run
  group by k.key, k.until
)
select (select count(*) from latest) as mlflow_store_logging_runs,
       (select max(rate)::float8 from fastest) as mlflow_store_fastest_run_points_per_second,
       (select max(p.params) from mlflow_store_running r cross join lateral (
          select count(*) as params from (select from {store}.params where run_uuid = r.run_uuid limit 1001) few
        ) p) as mlflow_store_max_params_per_run
