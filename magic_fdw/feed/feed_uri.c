/*
 * feed_uri.c
 *		The source URI: kafka://host:port[,host:port]/TOPIC?..., file:///directory?...
 *
 * Everything about the bytes of a stream stands here, everything about the feed in create_feed's
 * arguments. In option names '-' and '_' are equal. The parser knows every option: one that is not
 * known is an error with the nearest name, one whose behaviour does not exist yet is refused, and
 * what would carry a secret is refused because the URI is stored and shown.
 */
#include "feed/feed_internal.h"

#include "mb/pg_wchar.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/varlena.h"

/* Bytes of an option's name that are kept; longer ones are unknown anyway. */
#define NAME_LEN 128

typedef enum OptionKind
{
	OPTION_OURS,	/* read below */
	OPTION_NOTHING, /* of TiCDC's sink or Drainer; says nothing about the bytes that we read */
	OPTION_SECRET,	/* would be stored and shown */
	OPTION_LATER	/* means something that is not there yet */
} OptionKind;

typedef struct UriOption
{
	const char *name;
	OptionKind kind;
	bool kafka; /* for kafka:// */
	bool file;	/* for file:// */
} UriOption;

static const UriOption uri_options[] = {
	{"protocol", OPTION_OURS, true, true},
	{"time_zone", OPTION_OURS, true, true},
	{"kafka_version", OPTION_NOTHING, true, false},
	{"kafka_client_id", OPTION_NOTHING, true, false},
	{"kafka_max_messages", OPTION_NOTHING, true, false},
	{"kafka_max_message_size", OPTION_NOTHING, true, false},
	{"partition_num", OPTION_NOTHING, true, false},
	{"max_message_bytes", OPTION_NOTHING, true, false},
	{"max_batch_size", OPTION_NOTHING, true, false},
	{"replication_factor", OPTION_NOTHING, true, false},
	{"required_acks", OPTION_NOTHING, true, false},
	{"compression", OPTION_NOTHING, true, false},
	{"auto_create_topic", OPTION_NOTHING, true, false},
	{"dial_timeout", OPTION_NOTHING, true, false},
	{"read_timeout", OPTION_NOTHING, true, false},
	{"write_timeout", OPTION_NOTHING, true, false},
	{"sasl_user", OPTION_SECRET, true, false},
	{"sasl_password", OPTION_SECRET, true, false},
	{"sasl_gssapi_password", OPTION_SECRET, true, false},
	{"sasl_oauth_client_secret", OPTION_SECRET, true, false},
	{"sasl_mechanism", OPTION_LATER, true, false},
	{"ca", OPTION_LATER, true, false},
	{"cert", OPTION_LATER, true, false},
	{"key", OPTION_LATER, true, false},
	{"insecure_skip_verify", OPTION_LATER, true, false},
	{"enable_tls", OPTION_LATER, true, false},
};

typedef enum KafkaValueKind
{
	KAFKA_INT,
	KAFKA_BOOL,
	KAFKA_TEXT,
	KAFKA_CHOICE
} KafkaValueKind;

/*
 * librdkafka's properties that may be given, as kafka.NAME=VALUE. Only what neither runs a program,
 * loads code, reads files, prints secrets, nor changes where and what is consumed.
 */
typedef struct KafkaOption
{
	const char *name;
	KafkaValueKind kind;
	int64 min;
	int64 max;
	const char *choices; /* separated by '|' */
} KafkaOption;

static const KafkaOption kafka_options[] = {
	{"client.id", KAFKA_TEXT},
	{"client.rack", KAFKA_TEXT},
	{"socket.timeout.ms", KAFKA_INT, 10, 300000},
	{"socket.keepalive.enable", KAFKA_BOOL},
	{"socket.nagle.disable", KAFKA_BOOL},
	{"socket.connection.setup.timeout.ms", KAFKA_INT, 1000, 2147483647},
	{"connections.max.idle.ms", KAFKA_INT, 0, 2147483647},
	{"reconnect.backoff.ms", KAFKA_INT, 0, 3600000},
	{"reconnect.backoff.max.ms", KAFKA_INT, 0, 3600000},
	{"metadata.max.age.ms", KAFKA_INT, 1, 86400000},
	{"topic.metadata.refresh.interval.ms", KAFKA_INT, -1, 3600000},
	{"broker.address.family", KAFKA_CHOICE, 0, 0, "any|v4|v6"},
	{"broker.address.ttl", KAFKA_INT, 0, 86400000},
	{"broker.version.fallback", KAFKA_TEXT},
	{"api.version.request", KAFKA_BOOL},
	{"api.version.request.timeout.ms", KAFKA_INT, 1, 300000},
	{"check.crcs", KAFKA_BOOL},
	{"fetch.wait.max.ms", KAFKA_INT, 0, 300000},
	{"fetch.min.bytes", KAFKA_INT, 1, 100000000},
	{"fetch.max.bytes", KAFKA_INT, 1024, 2147483135},
	{"fetch.message.max.bytes", KAFKA_INT, 1024, 1000000000},
	{"fetch.error.backoff.ms", KAFKA_INT, 0, 300000},
	{"queued.min.messages", KAFKA_INT, 1, 10000000},
	{"queued.max.messages.kbytes", KAFKA_INT, 1, 2097151},
	{"receive.message.max.bytes", KAFKA_INT, 1000, 2147483647},
	{"isolation.level", KAFKA_CHOICE, 0, 0, "read_uncommitted|read_committed"},
};

static const char *const known_protocols[] = {"tidb-binlog", "canal-json", "open-protocol",
											  "simple", "csv"};

/* Lower case, '-' made '_': two spellings of one name become equal. */
static void
fold_name(char *to, const char *from)
{
	int i;

	for (i = 0; from[i] && i < NAME_LEN - 1; i++)
		to[i] = from[i] == '-' ? '_' : pg_ascii_tolower((unsigned char) from[i]);
	to[i] = '\0';
}

/* The candidate that is fewest edits away, NULL if none is near. */
const char *
feed_nearest_name(const char *name, const char *const *candidates, int n)
{
	const char *best = NULL;
	int best_distance = Max(2, (int) strlen(name) / 3) + 1;

	if (strlen(name) >= NAME_LEN)
		return NULL;
	for (int i = 0; i < n; i++)
	{
		int distance = varstr_levenshtein(name, strlen(name), candidates[i], strlen(candidates[i]),
										  1, 1, 1, true);

		if (distance < best_distance)
		{
			best = candidates[i];
			best_distance = distance;
		}
	}
	return best;
}

/* Decodes %XX; an error for a malformed escape or a decoded zero byte. */
static char *
percent_decode(const char *text, size_t len)
{
	char *out = palloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (text[i] == '%')
		{
			char digits[3] = {0};
			char *end;
			long byte;

			if (i + 2 < len)
			{
				digits[0] = text[i + 1];
				digits[1] = text[i + 2];
			}
			byte = strtol(digits, &end, 16);
			if (!isxdigit((unsigned char) digits[0]) || end != digits + 2 || byte == 0)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("invalid percent escape in source URI"),
								errhint("Write a percent sign as %%25.")));
			out[n++] = (char) byte;
			i += 2;
		}
		else
			out[n++] = text[i];
	}
	out[n] = '\0';
	pg_verifymbstr(out, n, false);
	return out;
}

static void
unknown_option(const char *name, bool kafka_property, FeedSourceKind kind)
{
	const char *names[lengthof(uri_options) + lengthof(kafka_options)];
	const char *nearest;
	int n = 0;

	if (kafka_property)
	{
		for (int i = 0; i < lengthof(kafka_options); i++)
			names[n++] = kafka_options[i].name;
	}
	else
	{
		for (int i = 0; i < lengthof(uri_options); i++)
			if (kind == FEED_SOURCE_KAFKA ? uri_options[i].kafka : uri_options[i].file)
				names[n++] = uri_options[i].name;
	}
	nearest = feed_nearest_name(name, names, n);
	if (kafka_property)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"kafka.%s\" is not allowed in a source URI", name),
			 errdetail("Only properties that neither run programs, load code or read files, nor "
					   "change what is consumed may be given."),
			 nearest ? errhint("Perhaps you meant \"kafka.%s\".", nearest) : 0));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown option \"%s\" in source URI", name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest)
					 : errhint("Options of the feed itself are arguments of magic.create_feed.")));
}

static void
bad_kafka_value(const KafkaOption *option, const char *value)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("invalid value \"%s\" for option \"kafka.%s\" in source URI", value, option->name),
		 option->kind == KAFKA_INT
			 ? errdetail("It is an integer from " INT64_FORMAT " to " INT64_FORMAT ".", option->min,
						 option->max)
		 : option->kind == KAFKA_BOOL	? errdetail("It is true or false.")
		 : option->kind == KAFKA_CHOICE ? errdetail("It is one of %s.", option->choices)
										: errdetail("It is up to 128 printable characters.")));
}

static bool
is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	for (const char *p = choices; p; p = strchr(p, '|'), p = p ? p + 1 : NULL)
		if (strncmp(p, value, len) == 0 && (p[len] == '|' || p[len] == '\0') && len > 0)
			return true;
	return false;
}

static void
add_kafka_option(FeedUri *uri, const char *name, char *value)
{
	const KafkaOption *option = NULL;
	FeedUriOption *entry;
	char property[NAME_LEN];
	ListCell *cell;
	int i;

	/* librdkafka separates words by dots; '-' and '_' are taken for the same */
	for (i = 0; name[i] && i < NAME_LEN - 1; i++)
		property[i] =
			name[i] == '-' || name[i] == '_' ? '.' : pg_ascii_tolower((unsigned char) name[i]);
	property[i] = '\0';

	for (i = 0; i < lengthof(kafka_options) && !option; i++)
		if (strcmp(kafka_options[i].name, property) == 0)
			option = &kafka_options[i];
	if (!option)
		unknown_option(property, true, FEED_SOURCE_KAFKA);

	if (option->kind == KAFKA_INT)
	{
		char *end;
		int64 number;

		errno = 0;
		number = strtoi64(value, &end, 10);
		if (errno || end == value || *end || number < option->min || number > option->max)
			bad_kafka_value(option, value);
	}
	else if (option->kind == KAFKA_BOOL)
	{
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			bad_kafka_value(option, value);
	}
	else if (option->kind == KAFKA_CHOICE)
	{
		if (!is_choice(option->choices, value))
			bad_kafka_value(option, value);
	}
	else
	{
		for (i = 0; value[i]; i++)
			if ((unsigned char) value[i] < ' ' || i >= NAME_LEN)
				bad_kafka_value(option, value);
	}

	foreach (cell, uri->kafka_options)
		if (strcmp(((FeedUriOption *) lfirst(cell))->name, option->name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"kafka.%s\" is given twice in source URI", option->name)));
	entry = palloc(sizeof(FeedUriOption));
	entry->name = pstrdup(option->name);
	entry->value = value;
	uri->kafka_options = lappend(uri->kafka_options, entry);
}

static void
set_protocol(FeedUri *uri, const char *value)
{
	char folded[NAME_LEN];
	const char *known = NULL;
	const char *nearest;

	for (int i = 0; i < lengthof(known_protocols); i++)
	{
		char candidate[NAME_LEN];

		fold_name(candidate, known_protocols[i]);
		fold_name(folded, value);
		if (strcmp(candidate, folded) == 0)
			known = known_protocols[i];
	}
	if (!known)
	{
		nearest = feed_nearest_name(value, known_protocols, lengthof(known_protocols));
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown protocol \"%s\" in source URI", value),
						nearest ? errhint("Perhaps you meant \"%s\".", nearest)
								: errhint("Supported is \"tidb-binlog\".")));
	}
	if (strcmp(known, "tidb-binlog") != 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("protocol \"%s\" is not supported yet", known),
						errhint("Supported is \"tidb-binlog\".")));
	uri->protocol = pstrdup(known);
}

static void
set_time_zone(FeedUri *uri, char *value)
{
	if (!pg_tzset(value) || !pg_tz_acceptable(pg_tzset(value)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown time zone \"%s\" in source URI", value),
				 errhint("pg_timezone_names lists the names, for example \"Asia/Shanghai\".")));
	uri->time_zone = value;
	uri->time_zone_given = true;
}

static void
set_option(FeedUri *uri, uint32 *seen, const char *name, char *value)
{
	char folded[NAME_LEN];
	const UriOption *option = NULL;
	int i;

	if (uri->kind == FEED_SOURCE_KAFKA && pg_strncasecmp(name, "kafka.", 6) == 0)
	{
		add_kafka_option(uri, name + 6, value);
		return;
	}
	fold_name(folded, name);
	for (i = 0; i < lengthof(uri_options) && !option; i++)
		if (strcmp(uri_options[i].name, folded) == 0 &&
			(uri->kind == FEED_SOURCE_KAFKA ? uri_options[i].kafka : uri_options[i].file))
			option = &uri_options[i];
	if (!option)
		unknown_option(folded, false, uri->kind);

	StaticAssertStmt(lengthof(uri_options) <= 32, "the options seen are bits of one word");
	if (*seen & ((uint32) 1 << (option - uri_options)))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("option \"%s\" is given twice in source URI", option->name)));
	*seen |= (uint32) 1 << (option - uri_options);

	switch (option->kind)
	{
		case OPTION_OURS:
			if (strcmp(option->name, "protocol") == 0)
				set_protocol(uri, value);
			else
				set_time_zone(uri, value);
			break;
		case OPTION_NOTHING:
			break;
		case OPTION_SECRET:
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option \"%s\" may not stand in a source URI", option->name),
							errdetail("The URI is stored and shown; it must not hold secrets.")));
			break;
		case OPTION_LATER:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("option \"%s\" of the source URI is not supported yet", option->name)));
			break;
	}
}

/* host:port[,host:port]; no name and password, at least a host in each. */
static void
check_brokers(const char *brokers)
{
	char *copy = pstrdup(brokers);
	char *rest = copy;
	char *broker;

	if (strchr(brokers, '@'))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("source URI must not contain a user name or password"),
						errdetail("The URI is stored and shown; it must not hold secrets.")));
	while ((broker = strsep(&rest, ",")) != NULL)
	{
		char *colon = strrchr(broker, ':');
		char *end = NULL;
		long port = colon ? strtol(colon + 1, &end, 10) : 0;

		if (!colon || colon == broker || end == colon + 1 || *end || port < 1 || port > 65535 ||
			strspn(broker,
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_:[]") !=
				strlen(broker))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("invalid broker \"%s\" in source URI", broker),
							errhint("Write host:port, several separated by commas.")));
	}
	pfree(copy);
}

/* One topic name as Kafka allows it: tidb-binlog is a stream of one partition of one topic. */
static void
check_topic(const char *topic)
{
	if (topic[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("source URI names no topic"),
				 errhint("Write kafka://host:port/TOPIC?protocol=tidb-binlog.")));
	if (topic[0] == '^' || strchr(topic, ','))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("protocol \"tidb-binlog\" reads exactly one topic"),
				 errhint("Drainer writes everything into one topic; create a feed for each.")));
	if (strspn(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") !=
			strlen(topic) ||
		strlen(topic) > 249 || strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("invalid topic name \"%s\" in source URI", topic),
						errdetail("Kafka allows up to 249 letters, digits, dots, underscores and "
								  "hyphens.")));
}

static void
parse_options(FeedUri *uri, const char *query)
{
	uint32 seen = 0;

	while (query && *query)
	{
		const char *end = query + strcspn(query, "&");
		const char *equals = memchr(query, '=', end - query);

		if (!equals)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("option without a value in source URI"),
							errhint("Write options as name=value, separated by \"&\".")));
		set_option(uri, &seen, percent_decode(query, equals - query),
				   percent_decode(equals + 1, end - equals - 1));
		query = *end ? end + 1 : end;
	}
}

/* Parses and checks a URI; raises 22023. Memory: the current context. */
FeedUri *
feed_parse_uri(const char *text)
{
	FeedUri *uri = palloc0(sizeof(FeedUri));
	const char *rest;
	const char *query = strchr(text, '?');
	const char *path_end = query ? query : text + strlen(text);
	const char *slash;

	if (strchr(text, '#'))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("source URI must not have a fragment"),
						errhint("Write a number sign as %%23.")));
	uri->time_zone = "UTC";
	if (pg_strncasecmp(text, "kafka://", 8) == 0)
	{
		uri->kind = FEED_SOURCE_KAFKA;
		rest = text + 8;
		slash = memchr(rest, '/', path_end - rest);
		uri->brokers = pnstrdup(rest, (slash ? slash : path_end) - rest);
		check_brokers(uri->brokers);
		uri->topic = slash ? percent_decode(slash + 1, path_end - slash - 1) : pstrdup("");
		check_topic(uri->topic);
	}
	else if (pg_strncasecmp(text, "file://", 7) == 0)
	{
		uri->kind = FEED_SOURCE_FILE;
		rest = text + 7;
		uri->topic = percent_decode(rest, path_end - rest);
		if (uri->topic[0] != '/')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("source URI names no absolute directory"),
					 errhint("Write file:///directory?protocol=tidb-binlog, with three slashes.")));
		canonicalize_path(uri->topic);
	}
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("source URI must begin with kafka:// or file://"),
						errhint("Examples: kafka://127.0.0.1:9092/binlog?protocol=tidb-binlog, "
								"file:///var/lib/drainer?protocol=tidb-binlog")));

	parse_options(uri, query ? query + 1 : NULL);
	if (!uri->protocol)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("source URI names no protocol"),
				 errhint("Add protocol=tidb-binlog to the URI.")));
	return uri;
}
