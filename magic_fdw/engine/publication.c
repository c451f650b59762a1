/*
 * publication.c
 *		Refuses to publish magic tables, when it is chosen.
 *
 * Logical decoding sees neither packs nor deltas, so a subscriber would silently miss every change.
 * Refused are a publication that names a magic table, a table above one, or is changed to do so; and, for a
 * table that is published by name, the access method magic and magic partitions. A publication of all
 * tables, or of a schema's, names none and may be meant for the others: PostgreSQL lists the magic tables
 * in it, and subscribers copy the rows that they have at first. Whoever makes such a publication, or a magic
 * table that falls into one, gets a warning that names them.
 */
#include "engine/engine_int.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication.h"
#include "commands/defrem.h"
#include "catalog/pg_class.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

/* A warning names so many tables. */
#define TABLES_NAMED 5

static bool
is_magic_method(const char *name)
{
	Oid am = get_table_am_oid(name, true);

	return OidIsValid(am) && am == get_table_am_oid("magic", true);
}

/* The first magic table among the table and those below it, or InvalidOid. Locks them for reading. */
static Oid
magic_table_in(Oid relid, bool below)
{
	List *relids =
		below ? find_all_inheritors(relid, AccessShareLock, NULL) : list_make1_oid(relid);
	Oid found = InvalidOid;
	ListCell *lc;

	foreach (lc, relids)
	{
		Relation rel = table_open(lfirst_oid(lc), AccessShareLock);

		if (engine_is_magic(rel))
			found = RelationGetRelid(rel);
		table_close(rel, NoLock);
		if (OidIsValid(found))
			break;
	}
	list_free(relids);
	return found;
}

/* Raises if the publication's objects name a magic table. */
static void
check_objects(List *objects)
{
	ListCell *lc;

	foreach (lc, objects)
	{
		PublicationObjSpec *object = lfirst(lc);
		Oid relid, magic;
		bool below;

		if (object->pubobjtype != PUBLICATIONOBJ_TABLE || object->pubtable == NULL)
			continue;
		relid = RangeVarGetRelid(object->pubtable->relation, AccessShareLock, true);
		if (!OidIsValid(relid) || !(RELKIND_HAS_TABLE_AM(get_rel_relkind(relid)) ||
									get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE))
			continue;
		below =
			object->pubtable->relation->inh || get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE;
		magic = magic_table_in(relid, below);
		if (OidIsValid(magic))
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot publish \"%s\"", get_rel_name(relid)),
				 magic == relid
					 ? errdetail(
						   "Logical decoding of tables of access method magic is not supported.")
					 : errdetail(
						   "Logical decoding of tables of access method magic, as \"%s\" is one, "
						   "is not supported.",
						   get_rel_name(magic))));
	}
}

/* Raises if the table, or one that it is a partition of, is published by name. */
static void
refuse_if_published(Oid relid)
{
	List *relids;
	ListCell *lc;

	if (!OidIsValid(relid))
		return;
	relids = lcons_oid(relid, get_partition_ancestors(relid));
	foreach (lc, relids)
	{
		List *publications = GetRelationPublications(lfirst_oid(lc));

		if (publications != NIL)
			ereport(
				ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use access method magic in published table \"%s\"",
						get_rel_name(lfirst_oid(lc))),
				 errdetail("Logical decoding of tables of access method magic is not supported."),
				 errhint("Remove the table from publication \"%s\" first.",
						 get_publication_name(linitial_oid(publications), false))));
	}
}

static void
check_alter_table(AlterTableStmt *statement)
{
	ListCell *lc;

	foreach (lc, statement->cmds)
	{
		AlterTableCmd *command = lfirst(lc);

		if (command->subtype == AT_SetAccessMethod && command->name != NULL &&
			is_magic_method(command->name))
			refuse_if_published(RangeVarGetRelid(statement->relation, NoLock, true));
		if (command->subtype == AT_AttachPartition)
		{
			PartitionCmd *attach = (PartitionCmd *) command->def;
			Oid partition = RangeVarGetRelid(attach->name, AccessShareLock, true);

			/* indexes are attached too */
			if (OidIsValid(partition) &&
				(get_rel_relkind(partition) == RELKIND_RELATION ||
				 get_rel_relkind(partition) == RELKIND_PARTITIONED_TABLE) &&
				OidIsValid(magic_table_in(partition, true)))
				refuse_if_published(RangeVarGetRelid(statement->relation, NoLock, true));
		}
	}
}

/* Raises for statements that would publish a magic table. */
void
publication_check_statement(Node *node)
{
	ListCell *lc;

	switch (nodeTag(node))
	{
		case T_CreatePublicationStmt:
			check_objects(((CreatePublicationStmt *) node)->pubobjects);
			break;
		case T_AlterPublicationStmt:
			if (((AlterPublicationStmt *) node)->action != AP_DropObjects)
				check_objects(((AlterPublicationStmt *) node)->pubobjects);
			break;
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) node);
			break;
		case T_CreateStmt:
		{
			CreateStmt *create = (CreateStmt *) node;

			if (create->partbound == NULL || create->partspec != NULL ||
				!is_magic_method(create->accessMethod ? create->accessMethod
													  : default_table_access_method))
				break;
			foreach (lc, create->inhRelations)
				refuse_if_published(RangeVarGetRelid(lfirst(lc), NoLock, true));
			break;
		}
		default:
			break;
	}
}

/* ---------------------------------------------------------------- publications that name no table */

/* Is it a magic table whose changes PostgreSQL takes for publishable? */
static bool
is_permanent_magic_table(Oid relid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool is = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		is = form->relkind == RELKIND_RELATION &&
			 form->relpersistence == RELPERSISTENCE_PERMANENT && OidIsValid(form->relam) &&
			 form->relam == get_table_am_oid("magic", true);
		ReleaseSysCache(tuple);
	}
	return is;
}

static bool
names_schema(List *objects)
{
	ListCell *lc;

	foreach (lc, objects)
		if (((PublicationObjSpec *) lfirst(lc))->pubobjtype != PUBLICATIONOBJ_TABLE)
			return true;
	return false;
}

/* Warns if the magic tables that there are fall into the publication. */
static void
warn_of_publication(const char *name)
{
	Oid publication = get_publication_oid(name, true);
	StringInfoData names;
	List *relids;
	ListCell *lc;
	int n = 0;

	if (!OidIsValid(publication))
		return;
	relids = GetPublication(publication)->alltables
				 ? GetAllTablesPublicationRelations(false)
				 : GetAllSchemaPublicationRelations(publication, PUBLICATION_PART_LEAF);
	/* a partition may be there by itself and by its parent */
	list_sort(relids, list_oid_cmp);
	list_deduplicate_oid(relids);
	initStringInfo(&names);
	foreach (lc, relids)
	{
		Oid relid = lfirst_oid(lc);

		if (!is_permanent_magic_table(relid))
			continue;
		if (n++ < TABLES_NAMED)
			appendStringInfo(
				&names, "%s%s", n > 1 ? ", " : "",
				quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
										   get_rel_name(relid)));
	}
	if (n > TABLES_NAMED)
		appendStringInfo(&names, " and %d more", n - TABLES_NAMED);
	if (n > 0)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("changes of tables of access method magic will not be published"),
				 errdetail("Publication \"%s\" covers %s.", name, names.data),
				 errhint("Subscribers get the rows that these tables have at first, and no change. "
						 "Publish the other tables by name.")));
}

/*
 * Warns if the table is a magic one and falls into a publication that does not name it; unless it is new, into
 * one of a schema, because one of all tables had it before.
 */
static void
warn_of_table(Oid relid, bool new_table)
{
	List *publications;
	ListCell *lc;

	if (!OidIsValid(relid) || !is_permanent_magic_table(relid))
		return;
	publications = new_table ? GetAllTablesPublications() : NIL;
	foreach (lc, lcons_oid(relid, get_partition_ancestors(relid)))
		publications =
			list_concat(publications, GetSchemaPublications(get_rel_namespace(lfirst_oid(lc))));
	if (publications != NIL)
		ereport(WARNING,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("changes of \"%s\" will not be published", get_rel_name(relid)),
				 errdetail("Publication \"%s\" covers the table, but logical decoding of tables of "
						   "access method magic is not supported.",
						   get_publication_name(linitial_oid(publications), false)),
				 errhint("Subscribers get the rows that the table has at first, and no change.")));
}

static void
warn_of_altered_table(AlterTableStmt *statement)
{
	ListCell *lc;

	foreach (lc, statement->cmds)
	{
		AlterTableCmd *command = lfirst(lc);

		if (command->subtype == AT_SetAccessMethod)
			warn_of_table(RangeVarGetRelid(statement->relation, NoLock, true), true);
		if (command->subtype == AT_AttachPartition)
			warn_of_table(RangeVarGetRelid(((PartitionCmd *) command->def)->name, NoLock, true),
						  false);
	}
}

/* After a statement: warns if it has put a magic table into a publication that does not name it. */
void
publication_warn(Node *node)
{
	switch (nodeTag(node))
	{
		case T_CreatePublicationStmt:
		{
			CreatePublicationStmt *create = (CreatePublicationStmt *) node;

			if (create->for_all_tables || names_schema(create->pubobjects))
				warn_of_publication(create->pubname);
			break;
		}
		case T_AlterPublicationStmt:
		{
			AlterPublicationStmt *alter = (AlterPublicationStmt *) node;

			if (alter->action != AP_DropObjects && names_schema(alter->pubobjects))
				warn_of_publication(alter->pubname);
			break;
		}
		case T_CreateStmt:
			warn_of_table(RangeVarGetRelid(((CreateStmt *) node)->relation, NoLock, true), true);
			break;
		case T_CreateTableAsStmt:
			warn_of_table(RangeVarGetRelid(((CreateTableAsStmt *) node)->into->rel, NoLock, true),
						  true);
			break;
		case T_AlterTableStmt:
			warn_of_altered_table((AlterTableStmt *) node);
			break;
		case T_AlterObjectSchemaStmt:
		{
			AlterObjectSchemaStmt *move = (AlterObjectSchemaStmt *) node;

			if (move->objectType == OBJECT_TABLE)
				warn_of_table(
					RangeVarGetRelid(makeRangeVar(move->newschema, move->relation->relname, -1),
									 NoLock, true),
					false);
			break;
		}
		default:
			break;
	}
}
