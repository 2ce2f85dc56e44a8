-- The generic plans of the statements in $1, in their order, as one JSON array: each is a plan, or
-- {"sqlstate", "message"} where Postgres would not plan that one. Nothing is executed. One round trip of three
-- statements in one read-only transaction; what they hand on is local to it, so a pooler keeps nothing.
-- 0.4 ms a statement of search_runs. A DO block, since the extended protocol would bind NULLs as the parameters of
-- EXPLAIN and plan for those.
-- MLflow's texts name its tables alone, so here, and here only, its schema is searched.
select set_config('search_path', 'pg_catalog, ' || {store_literal} || ', pg_temp', true),
       set_config('mlflow_exporter.texts', array_to_json($1::text[])::text, true) as mlflow_db_plan_texts
;
-- mlflow-exporter
do $do$
declare
  one text;
  plan json;
  mlflow_db_plans json[] := '{}';
  state text;
  why text;
begin
  for one in select json_array_elements_text(current_setting('mlflow_exporter.texts')::json) loop
    begin
      execute 'explain (generic_plan, format json) ' || one into plan;
    exception when others then
      get stacked diagnostics state = returned_sqlstate, why = message_text;
      plan := json_build_object('sqlstate', state, 'message', why);
    end;
    mlflow_db_plans := mlflow_db_plans || plan;
  end loop;
  perform set_config('mlflow_exporter.plans', array_to_json(mlflow_db_plans)::text, true);
end
$do$
;
-- mlflow-exporter
select current_setting('mlflow_exporter.plans')::text as mlflow_db_plans
