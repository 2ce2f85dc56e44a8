-- The schema's Alembic revision, and what each b-tree of MLflow's tables ($1) is on, whatever its
-- name. From the catalogs alone: no lock on a table, and the same cost at any size. `building`: CREATE INDEX
-- CONCURRENTLY is at work on it, or on one that our role may not see. Bytes are as of the last VACUUM or ANALYZE;
-- to ask the file system would lock the index. 61 indexes: 6 ms, 689 blocks, all of the catalogs.
select (select version_num::text from {store}.alembic_version limit 1) as revision,
       t.relname::text as "table",
       i.relname::text as name,
       keys.columns,
       x.indisunique as "unique",
       x.indpred is not null as partial,
       x.indnatts > x.indnkeyatts as covering,
       x.indisvalid and x.indisready as valid,
       not x.indisvalid and exists (select from pg_stat_progress_create_index p
                                    where coalesce(p.index_relid, x.indexrelid) = x.indexrelid) as building,
       i.relpages::int8 * current_setting('block_size')::int as bytes
from pg_index x
join pg_class t on t.oid = x.indrelid
join pg_class i on i.oid = x.indexrelid
join pg_am m on m.oid = i.relam and m.amname = 'btree'
cross join lateral (
  select array_agg(coalesce(a.attname::text, pg_get_indexdef(x.indexrelid, k.n::int, true))
                   || case when o.opcdefault then '' else ' ' || o.opcname end order by k.n) as columns
  from unnest(x.indkey::int2[], x.indclass::oid[]) with ordinality k (attribute, class, n)
  join pg_opclass o on o.oid = k.class -- key columns have a class, INCLUDE columns none
  left join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.attribute and k.attribute > 0
) keys
where t.relnamespace = {store_oid} and t.relname = any ($1::text[]::name[])
order by 2, 3
