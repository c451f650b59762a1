/*-------------------------------------------------------------------------
 *
 * ddl.h
 *	  The MySQL/TiDB DDL grammar: from the text of a statement to a tree.
 *
 * A change stream carries schema changes as SQL text.  ddl_parse() turns one such text into a
 * DdlStatement.  It understands the statement whole or refuses it: there is no partial success, no
 * skipping of what is not known, and no guess.  What it understands but what changes no table
 * (views, comments, partitions that are only added, ...) is a kind of its own with DDL_EFFECT_NONE.
 *
 * Nothing here includes PostgreSQL headers, calls PostgreSQL or longjmps: fuzzers and sanitizers
 * run it directly.  Parsing takes time and memory linear in the length of the text, no recursion,
 * and never more memory than the arena's limit.
 *
 * Ownership: every pointer in the tree is into the arena given to ddl_parse() (or to a static
 * string), none is into the text.  The tree lives until the arena is reset or destroyed.  Give the
 * arena a limit; DDL_ARENA_LIMIT is enough for any statement that comes from a server.
 *
 * Strings: bytes with a length, in the encoding of the text (UTF-8 in every known stream, but it is
 * not checked here), unquoted and unescaped.  They may contain zero bytes, and names may be longer
 * than PostgreSQL's.  A zero byte follows the last byte for the convenience of debuggers; do not
 * rely on it to find the end.  A string that the statement did not give has data == NULL; an empty
 * string has data != NULL and len == 0.
 *
 * Names are as written: TiDB compares names of databases, tables, columns and keys without regard
 * to case, so must the caller (ddl_same_name()).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DDL_DDL_H
#define DDL_DDL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "decode/arena.h"

#define DDL_ARENA_LIMIT ((size_t) 256 << 20)

/* Limits, each an error of code DDL_ERROR_LIMIT when passed. */
#define DDL_MAX_TEXT ((size_t) 16 << 20) /* bytes of statement text */
#define DDL_MAX_DEPTH 1024				 /* nested parentheses */
#define DDL_MAX_COLUMNS 4096			 /* column definitions in a statement (TiDB: 4096) */
#define DDL_MAX_KEYS 4096				 /* keys and constraints in a statement */
#define DDL_MAX_KEY_PARTS 1024			 /* parts of one key */
#define DDL_MAX_CLAUSES 8192			 /* clauses of ALTER TABLE */
#define DDL_MAX_NAMES 65536				 /* tables in DROP, RENAME; partitions in a list */
#define DDL_MAX_PARTITIONS 8192			 /* partition definitions (TiDB: 8192) */
#define DDL_MAX_MEMBERS 65535			 /* members of an ENUM (of a SET: 64) */

typedef struct DdlString
{
	const char *data; /* NULL: not given */
	size_t len;
} DdlString;

/* ----------------------------------------------------------------
 *		Errors
 * ----------------------------------------------------------------
 */

typedef enum DdlErrorCode
{
	DDL_OK = 0,
	DDL_ERROR_SYNTAX, /* not understood: a statement, clause, type or option that the grammar lacks */
	DDL_ERROR_LIMIT, /* one of the limits above */
	DDL_ERROR_MEMORY /* the arena is exhausted */
} DdlErrorCode;

typedef struct DdlError
{
	DdlErrorCode code;
	char message[160]; /* PostgreSQL's style: lower case, no full stop; plain ASCII */
	size_t offset;	   /* byte in the text, from 0, where the offending token starts */
	int line;		   /* its line, from 1 */
	int column;		   /* its byte in that line, from 1 */
	char token[64];	   /* the token, cut at a character boundary; "" at the end of the text */
} DdlError;

/* ----------------------------------------------------------------
 *		What a statement does to tables
 * ----------------------------------------------------------------
 */

typedef enum DdlEffect
{
	/* No table, column, key, name or row changes: log it and go on. */
	DDL_EFFECT_NONE = 0,

	/*
	 * Existence, name, columns, defaults or keys change, and what happens to rows follows from the
	 * statement (TRUNCATE and DROP TABLE empty it, ADD COLUMN fills the default, a type change
	 * converts).
	 */
	DDL_EFFECT_SCHEMA,

	/*
	 * Rows appear, vanish or move, and the stream sends none of them: DROP, TRUNCATE and EXCHANGE
	 * PARTITION, RECOVER, FLASHBACK.  The table is no longer what it is upstream unless the caller
	 * can work out the rows from the partition's definition: "resync needed".
	 */
	DDL_EFFECT_ROWS
} DdlEffect;

/* ----------------------------------------------------------------
 *		Names, defaults, columns
 * ----------------------------------------------------------------
 */

/* A table, view or sequence.  database.data == NULL: not qualified, resolve it with the event's. */
typedef struct DdlName
{
	DdlString database;
	DdlString name;
} DdlName;

typedef enum DdlType
{
	DDL_TYPE_TINYINT, /* also BOOL, BOOLEAN (with length 1), INT1 */
	DDL_TYPE_SMALLINT,
	DDL_TYPE_MEDIUMINT,
	DDL_TYPE_INT,
	DDL_TYPE_BIGINT,  /* also SERIAL (UNSIGNED NOT NULL AUTO_INCREMENT UNIQUE) */
	DDL_TYPE_DECIMAL, /* length = precision, decimals = scale */
	DDL_TYPE_FLOAT,	  /* also FLOAT(p), p <= 24; length, decimals of FLOAT(m,d) */
	DDL_TYPE_DOUBLE,  /* also REAL, DOUBLE PRECISION, FLOAT(p), p > 24 */
	DDL_TYPE_BIT,	  /* length = bits */
	DDL_TYPE_DATE,
	DDL_TYPE_TIME,		/* decimals = digits of the fraction of a second */
	DDL_TYPE_DATETIME,	/* the same */
	DDL_TYPE_TIMESTAMP, /* the same */
	DDL_TYPE_YEAR,
	DDL_TYPE_CHAR, /* length in characters; also NCHAR */
	DDL_TYPE_VARCHAR,
	DDL_TYPE_TINYTEXT,
	DDL_TYPE_TEXT, /* length as given: TEXT(100) is not made TINYTEXT here */
	DDL_TYPE_MEDIUMTEXT,
	DDL_TYPE_LONGTEXT,
	DDL_TYPE_BINARY, /* length in bytes; also a text type of CHARACTER SET or COLLATE binary */
	DDL_TYPE_VARBINARY,
	DDL_TYPE_TINYBLOB,
	DDL_TYPE_BLOB,
	DDL_TYPE_MEDIUMBLOB,
	DDL_TYPE_LONGBLOB,
	DDL_TYPE_ENUM,
	DDL_TYPE_SET,
	DDL_TYPE_JSON,
	DDL_TYPE_VECTOR /* length = dimensions, -1: any */
} DdlType;

typedef enum DdlDefaultKind
{
	DDL_DEFAULT_ABSENT = 0, /* no DEFAULT clause */
	DDL_DEFAULT_NULL,		/* DEFAULT NULL */
	DDL_DEFAULT_STRING,		/* value = the bytes, unescaped; TRUE and FALSE are numbers */
	DDL_DEFAULT_NUMBER,		/* value = its text, e.g. "-1.5e1": sign, no leading zeros, no "+" */
	DDL_DEFAULT_BYTES,		/* x'..', 0x.., b'..', 0b..: value = the bytes, big-endian, padded on
							 * the left to whole bytes */
	DDL_DEFAULT_CURRENT_TIMESTAMP, /* NOW() and its synonyms; fsp = digits of the fraction */
	DDL_DEFAULT_EXPRESSION		   /* value = the expression's text as written, without the outer
									* parentheses: (uuid()), NEXTVAL(`s`), CURRENT_DATE, ... */
} DdlDefaultKind;

typedef struct DdlDefault
{
	DdlDefaultKind kind;
	DdlString value;
	int fsp;
} DdlDefault;

typedef enum DdlGenerated
{
	DDL_GENERATED_NONE = 0,
	DDL_GENERATED_VIRTUAL, /* also when neither is written */
	DDL_GENERATED_STORED
} DdlGenerated;

typedef enum DdlPosition
{
	DDL_POSITION_LAST =
		0, /* neither FIRST nor AFTER: ADD puts it last, MODIFY and CHANGE leave it */
	DDL_POSITION_FIRST,
	DDL_POSITION_AFTER /* after the column `after` */
} DdlPosition;

typedef struct DdlColumn
{
	DdlString name; /* for CHANGE COLUMN the new name */
	DdlType type;
	int length;		  /* -1: not written (except BOOL, SERIAL and the like, which imply one) */
	int decimals;	  /* -1: not written */
	bool is_unsigned; /* also implied by ZEROFILL and SERIAL */
	bool zerofill;
	bool binary_collation; /* the BINARY attribute of a text type: its charset's _bin collation */
	DdlString charset;	   /* as written, lower case; absent: the table's */
	DdlString collation;   /* the same */
	bool not_null;	   /* NOT NULL written or implied by SERIAL; a primary key implies it as well,
							* but that is not folded in here */
	bool null_written; /* NULL written */
	bool primary;	   /* PRIMARY KEY in the column's definition (keys[] has it, too) */
	bool unique;	   /* UNIQUE in the column's definition (keys[] has it, too) */
	bool auto_increment;
	bool auto_random;
	DdlDefault default_value;
	bool on_update_now;		/* ON UPDATE CURRENT_TIMESTAMP */
	DdlGenerated generated; /* not NONE: the stream does not carry its values rightly */
	DdlString expression;	/* of a generated column, as written, without the outer parentheses */
	DdlString *members;		/* of ENUM and SET, in order: ENUM value n is members[n - 1]; without
							 * trailing blanks, as the server keeps them */
	int nmembers;
	DdlString comment;
	DdlPosition position; /* only within ALTER TABLE */
	DdlString after;
	size_t offset; /* of the definition in the text */
} DdlColumn;

/* ----------------------------------------------------------------
 *		Keys and constraints
 * ----------------------------------------------------------------
 */

typedef enum DdlKeyKind
{
	DDL_KEY_PRIMARY,
	DDL_KEY_UNIQUE,
	DDL_KEY_INDEX, /* the rest changes neither rows nor row identity */
	DDL_KEY_FULLTEXT,
	DDL_KEY_SPATIAL,
	DDL_KEY_COLUMNAR, /* VECTOR INDEX, COLUMNAR INDEX */
	DDL_KEY_FOREIGN,  /* FOREIGN KEY or REFERENCES; parts = the referencing columns */
	DDL_KEY_CHECK	  /* no parts */
} DdlKeyKind;

typedef struct DdlKeyPart
{
	DdlString column;	  /* absent: an expression */
	int prefix_length;	  /* of column(n), else -1: such a key does not identify a whole value */
	DdlString expression; /* text without the outer parentheses */
	bool descending;
} DdlKeyPart;

typedef enum DdlClustered
{
	DDL_CLUSTERED_DEFAULT = 0, /* not written: TiDB's setting decides */
	DDL_CLUSTERED,
	DDL_NONCLUSTERED
} DdlClustered;

/*
 * A key or constraint however it is written: in a column's definition, in the table's body, in
 * ALTER TABLE or as CREATE INDEX.  name is absent when not given; the server then names an index
 * after its first column (`a`, `a_2`, ...; an expression: `expression_index`).  The name written
 * for a PRIMARY KEY means nothing.
 */
typedef struct DdlKey
{
	DdlKeyKind kind;
	DdlString name;
	DdlKeyPart *parts;
	int nparts;
	DdlClustered clustered;
	bool from_column; /* written in a column's definition */
	bool if_not_exists;
	size_t offset;
} DdlKey;

/* ----------------------------------------------------------------
 *		Table options and partitions
 * ----------------------------------------------------------------
 */

/* Of a table or database.  All other options are recognised, checked for form, and dropped. */
typedef struct DdlOptions
{
	DdlString charset;	 /* lower case */
	DdlString collation; /* lower case */
	DdlString comment;
} DdlOptions;

typedef enum DdlPartitionMethod
{
	DDL_PARTITION_NONE = 0, /* definitions only (ADD PARTITION, REORGANIZE) */
	DDL_PARTITION_HASH,
	DDL_PARTITION_KEY,
	DDL_PARTITION_RANGE,
	DDL_PARTITION_LIST,
	DDL_PARTITION_SYSTEM_TIME
} DdlPartitionMethod;

typedef enum DdlPartitionBound
{
	DDL_BOUND_NONE = 0,	 /* HASH, KEY */
	DDL_BOUND_LESS_THAN, /* values[]: one, or one per column; MAXVALUE is that word */
	DDL_BOUND_IN,		 /* values[]: the list; a tuple keeps its parentheses */
	DDL_BOUND_DEFAULT	 /* PARTITION p DEFAULT */
} DdlPartitionBound;

typedef struct DdlPartition
{
	DdlString name;
	DdlPartitionBound bound;
	DdlString *values; /* expressions as written */
	int nvalues;
} DdlPartition;

typedef struct DdlPartitioning
{
	DdlPartitionMethod method;
	bool columns_form;	  /* RANGE COLUMNS, LIST COLUMNS, or KEY */
	DdlString expression; /* HASH, RANGE, LIST by an expression: text without the parentheses */
	DdlString *columns;	  /* columns_form */
	int ncolumns;
	int64_t count; /* PARTITIONS n, else -1 */
	bool interval; /* TiDB's INTERVAL form: the definitions are not all in the text */
	DdlPartition *partitions;
	int npartitions;
} DdlPartitioning;

/* ----------------------------------------------------------------
 *		ALTER TABLE
 * ----------------------------------------------------------------
 */

typedef enum DdlAlterKind
{
	/* Columns */
	DDL_ALTER_ADD_COLUMNS,	 /* columns[], with their positions; keys[] those within */
	DDL_ALTER_DROP_COLUMN,	 /* name */
	DDL_ALTER_MODIFY_COLUMN, /* name; columns[0] the new definition, the same name; keys[] */
	DDL_ALTER_CHANGE_COLUMN, /* name the old name; columns[0] the new name and definition; keys[] */
	DDL_ALTER_RENAME_COLUMN, /* name, new_name */
	DDL_ALTER_SET_DEFAULT,	 /* name, default_value */
	DDL_ALTER_DROP_DEFAULT,	 /* name */

	/* The table */
	DDL_ALTER_RENAME_TABLE,	   /* table = the new name */
	DDL_ALTER_CONVERT_CHARSET, /* options; changes the type of columns when it is "binary" */
	DDL_ALTER_OPTIONS,		   /* options; charset and collation hold for columns added later */

	/* Keys */
	DDL_ALTER_ADD_KEY, /* keys[0]; or keys[] with no column, of ADD (...) */
	DDL_ALTER_DROP_PRIMARY_KEY,
	DDL_ALTER_DROP_KEY, /* DROP INDEX name: may be a unique one; `PRIMARY` is the primary key */
	DDL_ALTER_DROP_CONSTRAINT, /* name: a CHECK, FOREIGN KEY, or UNIQUE, whichever has that name */
	DDL_ALTER_DROP_FOREIGN_KEY,
	DDL_ALTER_DROP_CHECK,
	DDL_ALTER_RENAME_KEY,  /* name, new_name */
	DDL_ALTER_KEY_OTHER,   /* name: visibility */
	DDL_ALTER_CHECK_OTHER, /* name: [NOT] ENFORCED */

	/* Partitions.  partitions[] are names; all_partitions: the word ALL instead. */
	DDL_ALTER_ADD_PARTITION,		/* partitioning: the definitions or the count */
	DDL_ALTER_DROP_PARTITION,		/* rows vanish */
	DDL_ALTER_TRUNCATE_PARTITION,	/* rows vanish */
	DDL_ALTER_EXCHANGE_PARTITION,	/* rows change places with `table` */
	DDL_ALTER_REORGANIZE_PARTITION, /* partitions[] into partitioning; without both: all */
	DDL_ALTER_COALESCE_PARTITION,
	DDL_ALTER_PARTITION_BY, /* partitioning */
	DDL_ALTER_REMOVE_PARTITIONING,
	DDL_ALTER_INTERVAL_PARTITION,	/* FIRST/LAST PARTITION LESS THAN: FIRST makes rows vanish */
	DDL_ALTER_PARTITION_TABLESPACE, /* DISCARD, IMPORT: rows change */
	DDL_ALTER_PARTITION_OTHER, /* attributes, placement, analyze, check, optimize, rebuild, ... */

	/* Everything else that the grammar knows; what says the words, e.g. "set tiflash replica" */
	DDL_ALTER_TABLESPACE, /* DISCARD, IMPORT: rows change */
	DDL_ALTER_OTHER /* TiFlash, TTL, cache, attributes, placement, statistics, lock, order, ... */
} DdlAlterKind;

typedef struct DdlClause
{
	DdlAlterKind kind;
	DdlEffect effect;
	bool if_exists;
	bool if_not_exists;
	DdlString name;
	DdlString new_name;
	DdlName table;
	DdlColumn *columns;
	int ncolumns;
	DdlKey *keys;
	int nkeys;
	DdlDefault default_value;
	DdlOptions options;
	DdlString *partitions;
	int npartitions;
	bool all_partitions;
	DdlPartitioning *partitioning;
	const char *what; /* static: a few lower-case words for logs, never NULL */
	size_t offset;	  /* of the clause in the text */
} DdlClause;

/* ----------------------------------------------------------------
 *		Statements
 * ----------------------------------------------------------------
 */

typedef enum DdlKind
{
	/* Databases: name.name is the database, name.database is absent */
	DDL_CREATE_DATABASE, /* if_not_exists, options */
	DDL_ALTER_DATABASE,	 /* options; name absent: the event's.  Effect NONE */
	DDL_DROP_DATABASE,	 /* if_exists */

	/* Tables */
	DDL_CREATE_TABLE, /* name, columns, keys, options, partitioning, if_not_exists, temporary */
	DDL_CREATE_TABLE_LIKE, /* name, like, if_not_exists, temporary */
	DDL_DROP_TABLE,		   /* names, if_exists, temporary.  One message per table may carry the same
							* list: act on the event's table and be idempotent */
	DDL_RENAME_TABLE,	   /* renames, in order */
	DDL_TRUNCATE_TABLE,	   /* name */
	DDL_ALTER_TABLE,	   /* name, clauses; effect = the greatest of the clauses' */
	DDL_CREATE_INDEX,	   /* name = the table, keys[0]; effect NONE unless unique */
	DDL_DROP_INDEX,		   /* name = the table, key_name, if_exists */

	/* Rows come back or change without being sent */
	DDL_RECOVER_TABLE,		/* name (absent with BY JOB) */
	DDL_FLASHBACK_TABLE,	/* name; rename_to when TO is written.  Also FLASHBACK TABLE a, b TO
							 * TIMESTAMP: names */
	DDL_FLASHBACK_DATABASE, /* name; rename_to */
	DDL_FLASHBACK_CLUSTER,	/* all databases */

	/* No effect on tables; names where the statement has them (DROP) or name */
	DDL_VIEW,			  /* create, alter, drop */
	DDL_SEQUENCE,		  /* create, alter, drop */
	DDL_PLACEMENT_POLICY, /* create, alter, drop */
	DDL_RESOURCE_GROUP,	  /* create, alter, drop, set */
	DDL_LOCK,			  /* LOCK, UNLOCK TABLES, LOCK STATS */
	DDL_ANALYZE,		  /* ANALYZE, OPTIMIZE, CHECK, CHECKSUM */
	DDL_STATISTICS,		  /* CREATE, DROP STATISTICS; DROP, LOAD, REFRESH STATS */
	DDL_USER,			  /* users, roles, privileges */
	DDL_OTHER			  /* bindings, SPLIT TABLE, SET, FLUSH, ADMIN, ... */
} DdlKind;

typedef enum DdlTemporary
{
	DDL_PERMANENT = 0,
	DDL_TEMPORARY,		 /* of a session */
	DDL_GLOBAL_TEMPORARY /* its rows are in no stream: effect NONE */
} DdlTemporary;

typedef struct DdlRename
{
	DdlName from;
	DdlName to;
} DdlRename;

/*
 * How the strings in the text are written.
 *
 * ORIGINAL: what a client sent.  Backslash escapes as in MySQL's default SQL mode; ' and " quote.
 *
 * RESTORED: what TiDB (6.0 and later) prints from its own tree: upper-case keywords, back-quoted
 * names.  A backslash is doubled in DEFAULT, in a column's COMMENT and within expressions; it is
 * single and stands for itself in members of ENUM and SET and in the COMMENT (or any other string
 * option) of a table, partition or index.
 *
 * AUTO: RESTORED when the text has a backslash and looks printed by TiDB (see README.md), else
 * ORIGINAL; without a backslash both mean the same.
 */
typedef enum DdlDialect
{
	DDL_DIALECT_AUTO = 0,
	DDL_DIALECT_ORIGINAL,
	DDL_DIALECT_RESTORED
} DdlDialect;

typedef struct DdlStatement
{
	DdlKind kind;
	DdlEffect effect;
	DdlDialect dialect; /* the one that was used, never AUTO */
	DdlString
		use_database; /* of a leading "USE `db`;" (the file sink writes it): it takes the place
							 * of the event's database for unqualified names */
	bool if_exists;
	bool if_not_exists;
	DdlTemporary temporary;
	DdlName name;
	DdlName like;
	DdlString rename_to;
	DdlString key_name;
	DdlName *names;
	int nnames;
	DdlRename *renames;
	int nrenames;
	DdlColumn *columns;
	int ncolumns;
	DdlKey *keys; /* every key, also those written in columns' definitions, in order of the text */
	int nkeys;
	DdlOptions options;
	DdlPartitioning *partitioning; /* NULL: none */
	DdlClause *clauses;
	int nclauses;
	const char *what; /* static: a few lower-case words for logs, e.g. "drop view"; never NULL */
} DdlStatement;

/*
 * Parse one statement.  The text may begin with "USE db;" and end in any number of semicolons;
 * anything else after the statement is an error.  Returns the tree, or NULL with *error filled.
 * error->code is DDL_OK after success.  text need not end in a zero byte.
 */
extern DdlStatement *ddl_parse(const char *text, size_t len, DdlDialect dialect, Arena *arena,
							   DdlError *error);

/*
 * One line for logs: what the statement does and to what, e.g.
 * "alter table `shop`.`t`: add column `a`, drop index `i` (effect schema)".  Written to buf, always
 * ended by a zero byte, cut at a character boundary when it does not fit; control characters become
 * '?'.  Returns buf.
 */
extern char *ddl_describe(const DdlStatement *statement, char *buf, size_t size);

/* Names as TiDB compares them; folds ASCII only. */
extern bool ddl_same_name(DdlString a, DdlString b);

/*
 * Give a column that names no charset the one of its table or database: charset or collation
 * "binary" turns text types into binary ones.  CREATE TABLE's own options are already applied; call
 * it for columns added later and for databases of charset binary.
 */
extern void ddl_column_inherit_charset(DdlColumn *column, DdlString charset, DdlString collation);

extern const char *ddl_type_name(DdlType type); /* "int", "varchar", ... */
extern const char *ddl_effect_name(DdlEffect effect);

#endif /* DDL_DDL_H */
