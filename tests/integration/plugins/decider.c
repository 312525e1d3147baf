/* Asks whoever writes policies: what a plugin sees when the answer fails. */
#include <purlin/purlin.h>

PURLIN_PLUGIN("decider", "0.1.0",
    .summary = "Asks for words, for tests",
    .license = "Apache-2.0");

typedef struct question {
  int64_t number;
} question;
PURLIN_SCHEMA(question, "What is asked", PURLIN_DEFAULT(number, "0", "Any number"));

typedef struct answer {
  const char *word;
} answer;
PURLIN_SCHEMA(answer, "What is answered", PURLIN_REQUIRED(word, "A word"));

PURLIN_POLICY(word, question, answer, "Which word?", .fallback = "{\"word\":\"nobody\"}", .on_failure = "{\"word\":\"careful\"}");
PURLIN_POLICY(strict, question, answer, "Which word? Nobody's guess will do.", .fallback = "{\"word\":\"nobody\"}");
PURLIN_EVENT(asked, question, "Somebody asked");

PURLIN_OPERATION(ask, question, answer, .summary = "Ask for a word", .permission = "models:read", .http = "POST /decider/ask") {
  return purlin_decide(ctx, word, in, out);
}

PURLIN_OPERATION(insist, question, answer, .summary = "Ask strictly", .permission = "models:read", .http = "POST /decider/insist") {
  return purlin_decide(ctx, strict, in, out);
}

PURLIN_OPERATION(tell, question, purlin_nothing, .summary = "Tell that somebody asked", .permission = "models:write",
    .effect = PURLIN_CHANGES, .http = "POST /decider/tell") {
  return purlin_emit(ctx, asked, in, "somebody");
}
