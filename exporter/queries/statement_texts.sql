-- Texts of statements that are new to us. No pattern is matched here: on 700 MB of them that took
-- a minute and more.
select queryid, left(query, 2000) as text
from {statements}.pg_stat_statements
where dbid = (select oid from pg_database where datname = current_database()) and queryid = any($1::bigint[])
