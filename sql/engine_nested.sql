-- Rows of a transaction, or of a function, are pending while a subtransaction inside builds indexes with
-- workers, scans in parallel, rewrites, clusters, analyzes, changes the method or the columns, and fails.
set min_parallel_table_scan_size=0; set max_parallel_maintenance_workers=2; set parallel_setup_cost=0; set parallel_tuple_cost=0; set min_parallel_index_scan_size = 0;
create table pa (id int, v int); insert into pa select g,g from generate_series(1,200000) g;
begin; insert into pa select g,g from generate_series(200001,200100) g; savepoint s; create index on pa(id); select count(*) from pa; insert into pa values (0,0); savepoint t; create index on pa(v); commit;
do $$ begin insert into pa values (-1,-1); begin create index on pa(id, v); exception when division_by_zero then null; end; end $$;
do $$ declare n bigint; begin insert into pa values (-2,-2); begin select count(*) into n from pa; raise notice '%', n; insert into pa values (-3,-3); reindex table pa; exception when division_by_zero then null; end; end $$;
do $$ declare n bigint; begin insert into pa values (-4,-4); begin alter table pa alter v type bigint; insert into pa values (-5,-5); cluster pa using pa_id_idx; exception when division_by_zero then null; end; end $$;
do $$ declare n bigint; begin insert into pa values (-6,-6); delete from pa where id = 7; begin alter table pa set access method heap; exception when division_by_zero then null; end; begin execute 'alter table pa set access method ' || current_setting('default_table_access_method'); insert into pa values (-7,-7); truncate pa; raise division_by_zero; exception when division_by_zero then null; end; end $$;
select count(*), sum(id), sum(v) from pa;
set enable_seqscan=off; select count(*) from pa where id < 1;
do $$ begin insert into pa values (-8,-8); begin refresh materialized view nothing; exception when undefined_table then null; end; begin create materialized view pm as select count(*) from pa; exception when division_by_zero then null; end; begin create table pc as select * from pa; exception when division_by_zero then null; end; end $$;
select * from pm; select count(*) from pc;
-- vacuum/analyze in subtransaction
do $$ begin insert into pa select g, g from generate_series(-2000,-1001) g; begin analyze pa; exception when division_by_zero then null; end; end $$;
select abs(reltuples - (select count(*) from pa)) < 10 from pg_class where relname='pa';
do $$ declare r record; begin insert into pa values (-9,-9); begin for r in select * from pa where id < 0 and id > -10 order by id loop update pa set v = 0 where id = r.id; end loop; raise division_by_zero; exception when division_by_zero then null; end; end $$;
select count(*) from pa where v = 0;
do $$ begin insert into pa values (-10,-10); begin alter table pa add c int default 3; insert into pa values (-11,-11,4); alter table pa drop v; create unique index pau on pa(id) where id between -11 and -10; raise division_by_zero; exception when division_by_zero then null; end; insert into pa values (-12,-12); end $$;
select * from pa where id between -12 and -10 order by id;
select problems('pa');
drop materialized view pm; drop table pa, pc;
-- a client that sets a savepoint before every statement and releases none; some are rolled back
create table ps (id int primary key, v text);
\set ECHO none
begin;
insert into ps values (0);
select format('savepoint s%s', g % 200), format('insert into ps values (%s)', g), format('update ps set v = %L where id = %s', 'u' || g, g - 1) from generate_series(1, 300) g \gexec
select count(*), count(v), max(v) from ps;
rollback to s150; select count(*), count(v), max(v) from ps;
select format('savepoint s%s', g), format('delete from ps where id = %s', g), format('insert into ps values (%s)', g) from generate_series(60, 240) g \gexec
rollback to s200; select count(*), count(v), max(v) from ps;
\set ECHO all
commit; select count(*), count(v), max(v), sum(id) from ps;
insert into ps values (151); insert into ps values (260);
select problems('ps');
drop table ps;
-- a loop that writes, and writes again in a block with an exception handler; the same by a trigger
create table pl (id int primary key, v text); create table pm (id int primary key);
do $$ begin for i in 1..400 loop insert into pl values (i); begin insert into pm values (i % 390); exception when unique_violation then update pl set v = 'twice' where id = i; end; end loop; end $$;
select count(*), count(v), (select count(*) from pm) from pl;
create function pt() returns trigger language plpgsql as $$ begin if pg_trigger_depth() = 1 then begin insert into pl values (new.id + 10000); exception when unique_violation then delete from pl where id = new.id + 10000; end; end if; return new; end $$;
create trigger pt before insert on pl for each row execute function pt();
insert into pl select g from generate_series(501, 900) g; insert into pl values (901), (902); delete from pl where id = 901; insert into pl values (901);
select count(*), count(v), sum(id) from pl;
select problems('pl'), problems('pm');
drop table pl, pm; drop function pt;
