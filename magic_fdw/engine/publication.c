/*
 * publication.c
 *		Refuses to publish magic tables, when it is chosen.
 *
 * Logical decoding sees neither packs nor deltas, so a subscriber would silently miss every change.
 * Refused are a publication that names a magic table, a table above one, or is changed to do so; and, for a
 * table that is published by name, the access method magic and magic partitions. A publication of all
 * tables, or of a schema's, names none and may be meant for the others: it gets a warning.
 */
#include "engine/engine_int.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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
	bool schemas = false;
	ListCell *lc;

	foreach (lc, objects)
	{
		PublicationObjSpec *object = lfirst(lc);
		Oid relid, magic;
		bool below;

		if (object->pubobjtype != PUBLICATIONOBJ_TABLE)
			schemas = true;
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
	if (schemas)
		ereport(WARNING,
				(errmsg("changes of tables of access method magic will not be published")));
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
			if (((CreatePublicationStmt *) node)->for_all_tables)
				ereport(WARNING,
						(errmsg("changes of tables of access method magic will not be published")));
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
