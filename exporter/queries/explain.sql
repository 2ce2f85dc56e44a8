-- The generic plans of the statements in $1, in their order, as one JSON array: each is a plan, or
-- {"sqlstate", "message"} where Postgres would not plan that one. Nothing is executed. One round trip of three
-- statements in one read-only transaction; what they hand on is local to it, so a pooler keeps nothing.
-- Before 16 there is no EXPLAIN (GENERIC_PLAN), only a prepared statement, which outlives a rollback: whatever
-- happens between PREPARE and DEALLOCATE, a timeout too, is caught here in the one statement that made it.
-- MLflow's texts name its tables alone, so here, and here only, its schema is searched.
select set_config('search_path', 'pg_catalog, ' || {store_literal} || ', pg_temp', true),
       set_config('mlflow_exporter.texts', array_to_json($1::text[])::text, true) as mlflow_db_plan_texts,
       set_config('plan_cache_mode', 'force_generic_plan', true)
;
-- mlflow-exporter
do $do$
declare
  one text;
  nulls text;
  plan json;
  mlflow_db_plans json[] := '{}';
  state text;
  why text;
begin
  for one in select json_array_elements_text(current_setting('mlflow_exporter.texts')::json) loop
    begin
      execute 'prepare mlflow_exporter_explain as ' || one;
      select '(' || string_agg('null', ',') || ')' into nulls
      from pg_prepared_statements, unnest(parameter_types) where name = 'mlflow_exporter_explain';
      execute 'explain (format json) execute mlflow_exporter_explain ' || coalesce(nulls, '') into plan;
      deallocate mlflow_exporter_explain;
    exception when query_canceled or others then
      get stacked diagnostics state = returned_sqlstate, why = message_text;
      if exists (select from pg_prepared_statements where name = 'mlflow_exporter_explain') then
        deallocate mlflow_exporter_explain;
      end if;
      if state = '57014' then
        raise;
      end if;
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
