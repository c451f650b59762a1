/*
 * mock_broker.c
 *		librdkafka's mock cluster as a broker for other processes.
 *
 * usage: mock_broker [--brokers N] [--with-parent] [TOPIC[:PARTITIONS]]...
 *
 * Prints the bootstrap address on one line, then serves until SIGTERM, SIGINT or "quit".  It speaks
 * the real wire protocol but keeps everything in memory, at most 5 MiB or 100,000 messages for each
 * partition; older ones are dropped, as retention does.  Nothing survives it.
 *
 * Commands on standard input, one a line, each answered by "ok" or "error: ...":
 *		topic NAME PARTITIONS		create a topic
 *		down ID | up ID				broker ID (from 1) refuses connections | accepts them again
 *		rtt ID MS					delay each answer
 *		error TOPIC CODE			answer requests for the topic with this error code, 0 = none
 *		fail API CODE [CODE]...		answer the next requests of an API key with these error codes
 *		quit
 * End of input is no reason to end.  A test stops, freezes or kills the process by its id.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

static void
die(const char *what, const char *detail)
{
	fprintf(stderr, "mock_broker: %s: %s\n", what, detail);
	exit(1);
}

static void
answer(rd_kafka_resp_err_t err)
{
	if (err)
		printf("error: %s\n", rd_kafka_err2str(err));
	else
		printf("ok\n");
	fflush(stdout);
}

static rd_kafka_resp_err_t
fail_requests(rd_kafka_mock_cluster_t *cluster, int api, char *rest)
{
	rd_kafka_resp_err_t errors[64];
	size_t count = 0;
	char *save;

	for (char *word = strtok_r(rest, " ", &save); word && count < 64;
		 word = strtok_r(NULL, " ", &save))
		errors[count++] = (rd_kafka_resp_err_t) atoi(word);
	rd_kafka_mock_push_request_errors_array(cluster, (int16_t) api, count, errors);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Carry out one command; false to end the program. */
static bool
command(rd_kafka_mock_cluster_t *cluster, char *line)
{
	char name[256];
	int number;
	int end = 0;

	if (strcmp(line, "quit") == 0)
		return false;
	if (sscanf(line, "topic %255s %d", name, &number) == 2)
		answer(rd_kafka_mock_topic_create(cluster, name, number, 1));
	else if (sscanf(line, "down %d", &number) == 1)
		answer(rd_kafka_mock_broker_set_down(cluster, number));
	else if (sscanf(line, "up %d", &number) == 1)
		answer(rd_kafka_mock_broker_set_up(cluster, number));
	else if (sscanf(line, "rtt %d %255s", &number, name) == 2)
		answer(rd_kafka_mock_broker_set_rtt(cluster, number, atoi(name)));
	else if (sscanf(line, "error %255s %d", name, &number) == 2)
	{
		rd_kafka_mock_topic_set_error(cluster, name, (rd_kafka_resp_err_t) number);
		answer(RD_KAFKA_RESP_ERR_NO_ERROR);
	}
	else if (sscanf(line, "fail %d %n", &number, &end) == 1 && end > 0)
		answer(fail_requests(cluster, number, line + end));
	else
	{
		printf("error: unknown command: %s\n", line);
		fflush(stdout);
	}
	return true;
}

static void
create_topic(rd_kafka_mock_cluster_t *cluster, char *argument)
{
	char *colon = strchr(argument, ':');
	rd_kafka_resp_err_t err;

	if (colon)
		*colon = '\0';
	err = rd_kafka_mock_topic_create(cluster, argument, colon ? atoi(colon + 1) : 1, 1);
	if (err)
		die("could not create topic", rd_kafka_err2str(err));
}

int
main(int argc, char **argv)
{
	int brokers = 1;
	int arg = 1;
	char errstr[512];
	char line[4096];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *handle;
	rd_kafka_mock_cluster_t *cluster;

	for (; arg < argc && strncmp(argv[arg], "--", 2) == 0; arg++)
	{
		if (strcmp(argv[arg], "--brokers") == 0 && arg + 1 < argc)
			brokers = atoi(argv[++arg]);
		else if (strcmp(argv[arg], "--with-parent") == 0)
			prctl(PR_SET_PDEATHSIG, SIGTERM);
		else
			die("unknown option", argv[arg]);
	}

	rd_kafka_conf_set(conf, "client.id", "mock_broker", NULL, 0);
	rd_kafka_conf_set(conf, "log_level", "3", NULL, 0);
	handle = rd_kafka_new(RD_KAFKA_PRODUCER, conf, errstr, sizeof(errstr));
	if (!handle)
		die("could not create a handle", errstr);
	cluster = rd_kafka_mock_cluster_new(handle, brokers);
	if (!cluster)
		die("could not create a cluster", "rd_kafka_mock_cluster_new");
	for (; arg < argc; arg++)
		create_topic(cluster, argv[arg]);

	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);

	while (fgets(line, sizeof(line), stdin))
	{
		line[strcspn(line, "\r\n")] = '\0';
		if (!command(cluster, line))
			return 0;
	}
	for (;;)
		pause();
}
