-- Values changed by element, materialised views and views with changes, procedures that commit in cursor
-- loops, modifying CTEs, arbiters of partial and expression indexes, plans prepared over DDL, inheritance
-- in another column order: the statements of programs.
\set SHOW_CONTEXT never
\set VERBOSITY terse
-- REFRESH CONCURRENTLY, dup rows
create table base(a int, b text); insert into base select g, 'x'||g from generate_series(1,3000) g;
create materialized view mv as select * from base;
create unique index on mv(a);
update base set b='y' where a%10=0; delete from base where a%7=0; insert into base select g,'n' from generate_series(4000,4100) g;
refresh materialized view concurrently mv;
select count(*), sum(a), count(*) filter (where b='y') from mv;
insert into base values (1,'dup');
refresh materialized view concurrently mv;
refresh materialized view mv with no data;
select count(*) from mv;
refresh materialized view mv;
delete from base where b='dup';
refresh materialized view mv;
select count(*) from mv;
begin; refresh materialized view mv; insert into base values (9999,'z'); refresh materialized view mv; select count(*) from mv; rollback;
select count(*) from mv;
select * from mv where a = 5 for update;
-- rewrite rules / views with check option / instead
create view v as select a, b from base where a < 100 with local check option;
insert into v values (500,'bad'); insert into v values (50,'ok') returning *;
update v set a = a + 1000 where a = 51; update v set b = 'vv' where a = 52 returning *;
delete from v where a = 53 returning *;
merge into base using (select 1 as one) s on false when not matched then insert values (12345,'m');
-- array/composite updates by element
create type ct as (x int, y text[]);
create table comp(id int primary key, c ct, arr int[], d ct[]);
insert into comp values (1,row(1,'{a,b}')::ct,'{1,2,3}',array[row(1,'{z}')::ct]),(2,null,null,null);
update comp set c.x = 5, arr[2] = 99, d[1].x = 7 where id=1 returning *;
with u as (update comp set arr[5] = 1, c.y[3] = 'ccc' where id in (1,2) returning *) select * from u order by id;
update comp set arr = arr || arr, d = d || d where id = 1 returning *;
-- ranges and domain over composite, enum arrays
create domain posint as int check (value > 0); create domain dct as ct check ((value).x > 0);
create table dm(id int primary key, p posint[], dc dct, r int4range[], m int8multirange);
insert into dm values (1,'{1,2}',row(1,'{}'),'{"[1,2]","empty"}','{[1,5),[7,9]}');
insert into dm values (2,'{0}',null,null,null);
insert into dm values (2,null,row(0,null),null,null);
update dm set p[1] = -1; update dm set dc.x = 0; update dm set dc.x = 9 returning *;
-- json, xml, tsvector search
create table j(id int, d jsonb); insert into j select g, jsonb_build_object('a',g,'b',array[g,g+1],'c',jsonb_build_object('k',repeat('x',g%200))) from generate_series(1,2000) g;
create index on j using gin (d); create index on j ((d->>'a'));
select count(*) from j where d @> '{"a": 5}'; select count(*) from j where d->>'a' = '77';
update j set d = jsonb_set(d,'{a}','0') where id % 2 = 0; select count(*) from j where d @> '{"a":0}';
-- plpgsql loops with exceptions & cursors that commit
create table lp(id int primary key, n int); 
create procedure p1() language plpgsql as $$ declare r record; begin for i in 1..50 loop begin insert into lp values (i % 20, i); exception when unique_violation then update lp set n = n + i where id = i % 20; end; if i % 10 = 0 then commit; end if; end loop; for r in select * from lp order by id loop update lp set n = -r.n where id = r.id; if r.id % 3 = 0 then commit; else rollback; end if; end loop; end $$;
call p1(); select * from lp order by id;
-- recursive and modifying cte
with recursive t(n) as (select 1 union all select n+1 from t where n < 100), ins as (insert into lp select n+1000, n from t returning *) select count(*), sum(n) from ins;
with upd as (update lp set n = 0 where id > 1050 returning *), del as (delete from lp where id <= 1050 and id > 1000 returning *) insert into lp select id + 5000, n from upd union all select id + 5000, n from del;
select count(*), sum(n), sum(id) from lp;
-- on conflict with partial/expression index arbiter
create table oc(a int, b text, c int); create unique index on oc (lower(b)) where c > 0; create unique index oc_a on oc(a);
insert into oc values (1,'A',1),(2,'b',0),(3,'B',0);
insert into oc values (4,'a',5) on conflict (lower(b)) where c > 0 do update set c = oc.c + excluded.c, b = excluded.b returning *;
insert into oc values (1,'q',5) on conflict (lower(b)) where c > 0 do nothing;
insert into oc values (1,'q',5),(4,'a',1) on conflict do nothing returning *;
insert into oc select 10 + g % 3, 'g'||g, 1 from generate_series(1,9) g on conflict (a) do nothing;
select * from oc order by a;
insert into oc values (1,'zz',1) on conflict (a) do update set a = 2;
update oc set c = 1;
-- lateral, self joins updates, update from itself
update oc o set c = x.s from (select sum(c) s from oc) x; select sum(c) from oc;
delete from oc using oc o2 where oc.a = o2.a + 1 returning oc.a;
select * from oc order by a;
-- explain analyze on dml, prepared statements generic plans across ddl
prepare q(int) as select * from lp where id = $1; execute q(1); alter table lp add z int default 4; execute q(1); set plan_cache_mode = force_generic_plan; execute q(2); alter table lp drop n; execute q(2); reset plan_cache_mode;
-- lock table, nowait, advisory
begin; lock table lp in access exclusive mode nowait; insert into lp values (-1); rollback;
-- inheritance update with different column order & returning tableoid
create table i1(a int, b text); create table i2(c int, b text, a int); alter table i2 inherit i1; insert into i1 values (1,'p'); insert into i2 values (2,'q',3);
update i1 set b = b||'!' returning tableoid::regclass, *; delete from i1 where a = 3 returning *;
-- maintenance of several at once
vacuum lp, j, base, oc; analyze lp, j; vacuum full lp, oc; reindex table lp; reindex table j;
select (select count(*) from lp), (select count(*) from j where d->>'a'='0'), (select count(*) from mv);
-- big in-list, subquery delete, truncate cascade multiple
create table f1(id int primary key); create table f2(id int references f1); insert into f1 select generate_series(1,100); insert into f2 select generate_series(1,100);
truncate f1; truncate f1, f2; select count(*) from f1; 
insert into f1 select generate_series(1,10) ; insert into f2 select generate_series(1,10);
begin; truncate f1 cascade; select count(*) from f2; rollback; select count(*) from f2;
select t, p from unnest('{base,mv,comp,dm,j,lp,oc,i1,i2,f1,f2}'::text[]) t, problems(t::regclass) p;
drop view v; drop materialized view mv; drop table base, comp, dm, j, lp, oc, i1, i2, f1, f2; drop procedure p1; drop domain posint, dct; drop type ct;
