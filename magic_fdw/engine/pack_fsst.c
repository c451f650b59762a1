/*
 * pack_fsst.c
 *		Training, encoding and decoding of tables of frequent substrings (see pack_fsst.h).
 *
 * The encoder takes at each place the longest symbol that it finds by two lookups: a table by the next
 * two bytes, for symbols of one and two bytes, and a hash table by the next three, for longer ones, which
 * keeps one symbol a slot. Training encodes a sample several times; the symbols of the next round are those
 * symbols of this one, and those pairs of them that followed each other, that covered most bytes.
 */
#include "engine/pack_fsst.h"

#include "utils/memutils.h"

#define HASH_BITS 11
#define ROUNDS 5

/* Candidates seen less often are not worth a code. */
#define LEAST_COUNT 3
#define CANDIDATE_SLOTS 16384

/* What the encoder finds: a code in the low byte, FSST_ESCAPE for a byte by itself; above it the length. */
#define FOUND(code, length) ((uint16) ((code) | (length) << 8))
#define FOUND_CODE(found) ((found) &0xff)
#define FOUND_LENGTH(found) ((found) >> 8)

typedef struct LongSymbol
{
	uint64 value;
	uint32 least; /* bytes that must be left: its length; PG_UINT32_MAX: free */
	uint16 found;
	uint16 ignored; /* bits of a word that do not count */
} LongSymbol;

StaticAssertDecl(sizeof(LongSymbol) == 16, "four symbols a cache line");

struct FsstEncoder
{
	FsstTable table;
	uint16 bytes[256];	 /* found by the next byte */
	uint16 pairs[65536]; /* found by the next two: of length 2 or 1 */
	LongSymbol longer[1 << HASH_BITS];
};

/* Numbers for counting: a byte by itself, or 256 + the code of a symbol. */
#define FIRST_SYMBOL 256
#define CODES 512

typedef struct Candidate
{
	uint64 value;
	uint32 length; /* 0: free */
	uint64 gain;
} Candidate;

typedef struct Training
{
	FsstEncoder *encoder;
	uint32 counts[CODES];
	uint16 *pair_counts; /* CODES x CODES */
	uint32 *pairs;		 /* those that are not 0 */
	uint32 npairs;
	uint32 room;
	Candidate *candidates;
	Candidate *sorted;
	uint32 ncandidates;
} Training;

static inline uint64
mask_of(uint32 length)
{
	return ~UINT64CONST(0) >> (64 - 8 * length);
}

static inline uint32
hash_three(uint64 word)
{
	return ((uint32) (word & 0xffffff) * 2654435761U) >> (32 - HASH_BITS);
}

/* The longest symbol at the start of `word`, of which `left` bytes count. */
static inline uint32
find(const FsstEncoder *encoder, uint64 word, uint32 left)
{
	const LongSymbol *symbol = &encoder->longer[hash_three(word)];
	uint32 pair = encoder->pairs[word & 0xffff];
	uint64 differs = (word ^ symbol->value) << symbol->ignored;
	uint32 found = (differs == 0) & (symbol->least <= left) ? symbol->found : pair;

	if (unlikely(FOUND_LENGTH(found) > left))
		found = encoder->bytes[word & 0xff];
	return found;
}

/* One of the rows of strings that are encoded at the same time. */
typedef struct Lane
{
	const uint8 *data;
	const uint8 *end;
	uint8 *out;
	uint8 *start; /* of the string's codes */
	int next;	  /* string to begin with when this one is done */
	int stop;
} Lane;

#define LANES 4

/* Goes to the next string that is not empty; false if there is none. */
static pg_attribute_always_inline bool
next_string(Lane *lane, const PackString *strings, uint32 *lengths)
{
	while (lane->next < lane->stop)
	{
		const PackString *string = &strings[lane->next++];

		if (unlikely(string->length == 0))
		{
			lengths[lane->next - 1] = 0;
			continue;
		}
		lane->data = string->data;
		lane->end = string->data + string->length;
		lane->start = lane->out;
		return true;
	}
	return false;
}

/* Encodes one symbol; false if that was the last of the lane. */
static pg_attribute_always_inline bool
encode_step(const FsstEncoder *encoder, Lane *lane, const PackString *strings, uint32 *lengths)
{
	uint64 word = pack_load_word(lane->data);
	uint32 found = find(encoder, word, lane->end - lane->data);

	lane->out[0] = FOUND_CODE(found);
	lane->out[1] = (uint8) word;
	lane->out += 1 + (FOUND_CODE(found) == FSST_ESCAPE);
	lane->data += FOUND_LENGTH(found);
	if (likely(lane->data < lane->end))
		return true;
	lengths[lane->next - 1] = lane->out - lane->start;
	return next_string(lane, strings, lengths);
}

/*
 * Each step waits for the lookups of the step before it, so four strings are encoded at the same time: one
 * of each quarter.
 */
uint64
fsst_encode(const FsstEncoder *encoder, const PackString *strings, int n, uint8 *out,
			uint32 *lengths)
{
	Lane lanes[LANES];
	uint8 *starts[LANES];
	bool more[LANES];
	uint8 *at = out;
	int string = 0;

	for (int i = 0; i < LANES; i++)
	{
		Lane lane = {.out = at, .next = string, .stop = (int64) n * (i + 1) / LANES};

		starts[i] = at;
		for (; string < lane.stop; string++)
			at += (uint64) strings[string].length * FSST_LEAST_RATIO;
		more[i] = next_string(&lane, strings, lengths);
		lanes[i] = lane;
	}
	if (more[0] && more[1] && more[2] && more[3])
	{
		Lane a = lanes[0];
		Lane b = lanes[1];
		Lane c = lanes[2];
		Lane d = lanes[3];

		do
		{
			more[0] = encode_step(encoder, &a, strings, lengths);
			more[1] = encode_step(encoder, &b, strings, lengths);
			more[2] = encode_step(encoder, &c, strings, lengths);
			more[3] = encode_step(encoder, &d, strings, lengths);
		} while (more[0] & more[1] & more[2] & more[3]);
		lanes[0] = a;
		lanes[1] = b;
		lanes[2] = c;
		lanes[3] = d;
	}
	at = out;
	for (int i = 0; i < LANES; i++)
	{
		Lane lane = lanes[i];

		while (more[i])
			more[i] = encode_step(encoder, &lane, strings, lengths);
		if (at != starts[i])
			memmove(at, starts[i], lane.out - starts[i]);
		at += lane.out - starts[i];
	}
	return at - out;
}

/* ---------------------------------------------------------------- training ---- */

static void
encoder_clear(FsstEncoder *encoder)
{
	encoder->table.count = 0;
	for (int i = 0; i < 256; i++)
		encoder->bytes[i] = FOUND(FSST_ESCAPE, 1);
	for (int i = 0; i < 65536; i++)
		encoder->pairs[i] = FOUND(FSST_ESCAPE, 1);
	memset(encoder->longer, 0, sizeof(encoder->longer));
	for (int i = 0; i < (1 << HASH_BITS); i++)
		encoder->longer[i].least = PG_UINT32_MAX;
}

/* Adds a symbol unless its slot is taken; encoder_fill() when all are there. */
static void
encoder_add(FsstEncoder *encoder, uint64 value, uint32 length)
{
	FsstTable *table = &encoder->table;
	uint16 found = FOUND(table->count, length);
	LongSymbol *slot = &encoder->longer[hash_three(value)];

	if (length >= 3)
	{
		if (slot->least != PG_UINT32_MAX)
			return;
		slot->value = value;
		slot->least = length;
		slot->found = found;
		slot->ignored = 64 - 8 * length;
	}
	else if (length == 2)
		encoder->pairs[value] = found;
	else
		encoder->bytes[value] = found;
	table->symbols[table->count] = value;
	table->lengths[table->count] = length;
	table->count++;
}

/* Where no symbol of two bytes is, finds by pairs what is found by the first byte. */
static void
encoder_fill(FsstEncoder *encoder)
{
	for (int i = 0; i < 65536; i++)
		if (FOUND_LENGTH(encoder->pairs[i]) == 1)
			encoder->pairs[i] = encoder->bytes[i & 0xff];
}

static uint64
code_value(const FsstEncoder *encoder, uint32 code, uint32 *length)
{
	if (code < FIRST_SYMBOL)
	{
		*length = 1;
		return code;
	}
	*length = encoder->table.lengths[code - FIRST_SYMBOL];
	return encoder->table.symbols[code - FIRST_SYMBOL];
}

static inline void
count_pair(Training *training, uint32 first, uint32 second)
{
	uint32 pair = first * CODES + second;

	if (training->pair_counts[pair] == 0)
	{
		if (training->npairs == training->room)
			return;
		training->pairs[training->npairs++] = pair;
	}
	if (training->pair_counts[pair] < PG_UINT16_MAX)
		training->pair_counts[pair]++;
}

/* Encodes the sample and counts codes, and pairs of neighbours. */
static void
count_sample(Training *training, const PackString *sample, uint32 count)
{
	const FsstEncoder *encoder = training->encoder;

	for (uint32 i = 0; i < count; i++)
	{
		const uint8 *data = sample[i].data;
		const uint8 *end = data + sample[i].length;
		uint32 previous = CODES;

		while (data < end)
		{
			uint32 found = find(encoder, pack_load_word(data), end - data);
			uint32 length = FOUND_LENGTH(found);
			uint32 code =
				FOUND_CODE(found) == FSST_ESCAPE ? *data : FIRST_SYMBOL + FOUND_CODE(found);

			training->counts[code]++;
			if (length > 1)
				training->counts[*data]++;
			if (previous != CODES)
			{
				count_pair(training, previous, code);
				if (length > 1)
					count_pair(training, previous, *data);
			}
			previous = code;
			data += length;
		}
	}
}

static void
add_candidate(Training *training, uint64 value, uint32 length, uint64 gain)
{
	uint64 hash = (value ^ length) * UINT64CONST(0x9e3779b97f4a7c15);
	uint32 at = hash >> 32;

	for (;; at++)
	{
		Candidate *slot = &training->candidates[at % CANDIDATE_SLOTS];

		if (slot->length == 0)
		{
			/* never full */
			if (training->ncandidates >= CANDIDATE_SLOTS / 2)
				return;
			slot->value = value;
			slot->length = length;
			slot->gain = gain;
			training->ncandidates++;
			return;
		}
		if (slot->value == value && slot->length == length)
		{
			slot->gain += gain;
			return;
		}
	}
}

/* Most gain first; what follows makes the order, and so the pack's bytes, depend on nothing else. */
static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *x = a;
	const Candidate *y = b;

	if (x->gain != y->gain)
		return x->gain > y->gain ? -1 : 1;
	if (x->length != y->length)
		return x->length > y->length ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* Makes the table of the next round of what this one has counted, and forgets the counts. */
static void
next_table(Training *training, bool last)
{
	FsstEncoder *encoder = training->encoder;
	uint32 n = 0;

	memset(training->candidates, 0, CANDIDATE_SLOTS * sizeof(Candidate));
	training->ncandidates = 0;
	for (uint32 code = 0; code < CODES; code++)
	{
		uint32 length;
		uint64 value;

		if (training->counts[code] < LEAST_COUNT)
			continue;
		value = code_value(encoder, code, &length);
		/* a byte without a code of its own takes two */
		add_candidate(training, value, length,
					  (uint64) training->counts[code] * (length == 1 ? 8 : length));
	}
	for (uint32 i = 0; i < training->npairs; i++)
	{
		uint32 pair = training->pairs[i];
		uint32 count = training->pair_counts[pair];
		uint32 first_length;
		uint32 second_length;
		uint64 first = code_value(encoder, pair / CODES, &first_length);
		uint64 second = code_value(encoder, pair % CODES, &second_length);
		uint32 length = Min(first_length + second_length, FSST_MAX_LENGTH);

		training->pair_counts[pair] = 0;
		if (last || count < LEAST_COUNT || first_length == FSST_MAX_LENGTH)
			continue;
		add_candidate(training, (first | second << (8 * first_length)) & mask_of(length), length,
					  (uint64) count * length);
	}
	for (uint32 i = 0; i < CANDIDATE_SLOTS; i++)
		if (training->candidates[i].length > 0)
			training->sorted[n++] = training->candidates[i];
	qsort(training->sorted, n, sizeof(Candidate), compare_candidates);
	encoder_clear(encoder);
	for (uint32 i = 0; i < n && encoder->table.count < FSST_MAX_SYMBOLS; i++)
		encoder_add(encoder, training->sorted[i].value, training->sorted[i].length);
	encoder_fill(encoder);
	memset(training->counts, 0, sizeof(training->counts));
	training->npairs = 0;
}

FsstEncoder *
fsst_train(const PackString *sample, uint32 count, MemoryContext context)
{
	Training training = {0};
	uint64 bytes = 0;

	for (uint32 i = 0; i < count; i++)
		bytes += sample[i].length;
	training.encoder = MemoryContextAlloc(context, sizeof(FsstEncoder));
	training.pair_counts = MemoryContextAllocZero(context, CODES * CODES * sizeof(uint16));
	training.room = Min(2 * bytes + 1, CODES * CODES);
	training.pairs = MemoryContextAlloc(context, training.room * sizeof(uint32));
	training.candidates = MemoryContextAlloc(context, CANDIDATE_SLOTS * sizeof(Candidate));
	training.sorted = MemoryContextAlloc(context, CANDIDATE_SLOTS / 2 * sizeof(Candidate));
	encoder_clear(training.encoder);
	for (int round = 1; round <= ROUNDS; round++)
	{
		count_sample(&training, sample, count);
		next_table(&training, round == ROUNDS);
	}
	pfree(training.sorted);
	pfree(training.candidates);
	pfree(training.pairs);
	pfree(training.pair_counts);
	return training.encoder;
}

/* ---------------------------------------------------------------- the table, stored ---- */

uint32
fsst_table_bytes(const FsstEncoder *encoder)
{
	uint32 bytes = 1 + encoder->table.count;

	for (uint32 i = 0; i < encoder->table.count; i++)
		bytes += encoder->table.lengths[i];
	return bytes;
}

void
fsst_table_write(const FsstEncoder *encoder, uint8 *out)
{
	const FsstTable *table = &encoder->table;

	*out++ = table->count;
	memcpy(out, table->lengths, table->count);
	out += table->count;
	for (uint32 i = 0; i < table->count; i++)
	{
		memcpy(out, &table->symbols[i], table->lengths[i]);
		out += table->lengths[i];
	}
}

uint32
fsst_table_read(FsstTable *table, const uint8 *bytes, uint64 length)
{
	uint64 used;

	memset(table, 0, sizeof(*table));
	if (length < 1)
		return 0;
	table->count = bytes[0];
	used = 1 + table->count;
	if (used > length)
		return 0;
	memcpy(table->lengths, bytes + 1, table->count);
	for (uint32 i = 0; i < table->count; i++)
	{
		if (table->lengths[i] < 1 || table->lengths[i] > FSST_MAX_LENGTH ||
			table->lengths[i] > length - used)
			return 0;
		memcpy(&table->symbols[i], bytes + used, table->lengths[i]);
		used += table->lengths[i];
	}
	return used;
}

/* ---------------------------------------------------------------- decoding ---- */

uint8 *
fsst_decode(const FsstTable *table, const uint8 *codes, uint32 length, uint8 *out)
{
	const uint8 *end = codes + length;

	while (codes < end)
	{
		uint32 code = *codes++;

		if (likely(code != FSST_ESCAPE))
		{
			uint32 taken = table->lengths[code];

			/* codes above the last symbol have length 0 */
			if (unlikely(taken == 0))
				return NULL;
			memcpy(out, &table->symbols[code], sizeof(uint64));
			out += taken;
		}
		else
		{
			if (unlikely(codes == end))
				return NULL;
			*out++ = *codes++;
		}
	}
	return out;
}
