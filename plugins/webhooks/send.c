#include "webhooks.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <time.h>

enum { TIMEOUT_MS = 30000, MOST_ANSWER = 64 * 1024 };

typedef struct envelope {
  const char *entity, *action, *timestamp;
  purlin_json data;
} envelope;
PURLIN_SCHEMA(envelope, "What receivers read",
    PURLIN_REQUIRED(entity, "What it is about"),
    PURLIN_REQUIRED(action, "What happened to it"),
    PURLIN_REQUIRED(timestamp, "When, RFC 3339"),
    PURLIN_REQUIRED(data, "The rest"));

purlin_status webhook_body(purlin_ctx *ctx, const char *event, purlin_json data, purlin_json *body) {
  char now[64];
  struct tm utc;
  int64_t us = purlin_now_us();
  time_t seconds = (time_t)(us / 1000000);
  const char *dot = strchr(event, '.');
  if (!dot || !gmtime_r(&seconds, &utc)) return purlin_fail(ctx, PURLIN_INTERNAL, "no event: %s", event);
  size_t size = strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%S", &utc);
  now[size] = '\0';
  envelope value = {.entity = purlin_copy_bytes(ctx, event, (size_t)(dot - event)),
                    .action = dot + 1,
                    .timestamp = purlin_format(ctx, "%s.%06d+00:00", now, (int)(us % 1000000)),
                    .data = data};
  if (!value.entity || !value.timestamp) return PURLIN_TOO_LARGE;
  return purlin_encode(ctx, envelope_schema(), &value, body);
}

/* "X-MLflow-Signature: v1,..." over "DELIVERY.TIME.BODY", as receivers check it. */
static const char *signature(purlin_ctx *ctx, const purlin_secret *secret, const char *delivery, long long now,
                             purlin_json body) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned digest_size = 0;
  char base64[2 * EVP_MAX_MD_SIZE];
  const char *text = purlin_format(ctx, "%s.%lld.%.*s", delivery, now, (int)body.size, body.text);
  if (!text ||
      !HMAC(EVP_sha256(), secret->text, (int)secret->size, (const unsigned char *)text, strlen(text), digest, &digest_size))
    return NULL;
  (void)EVP_EncodeBlock((unsigned char *)base64, digest, (int)digest_size);
  return purlin_format(ctx, "X-MLflow-Signature: v1,%s", base64);
}

static purlin_status sign(purlin_ctx *ctx, const webhook_target *to, const char *delivery, long long now, purlin_json body,
                          const char **header) {
  purlin_secret secret;
  const char *of = webhook_sealed_as(ctx, to->id);
  if (!of) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_unseal(ctx, of, to->sealed, &secret);
  if (status != PURLIN_OK) return status;
  *header = signature(ctx, &secret, delivery, now, body);
  purlin_secret_wipe(ctx, &secret);
  return *header ? PURLIN_OK : PURLIN_TOO_LARGE;
}

purlin_status webhook_send(purlin_ctx *ctx, const webhook_target *to, const char *delivery, purlin_json body,
                           purlin_http_answer *answer) {
  long long now = purlin_now_us() / 1000000;
  const char *headers[5] = {"Content-Type: application/json"};
  headers[1] = purlin_format(ctx, "X-MLflow-Delivery-Id: %s", delivery);
  headers[2] = purlin_format(ctx, "X-MLflow-Timestamp: %lld", now);
  if (!headers[1] || !headers[2]) return PURLIN_TOO_LARGE;
  if (to->sealed.data) {
    purlin_status status = sign(ctx, to, delivery, now, body, &headers[3]);
    if (status != PURLIN_OK) return status;
  }
  return purlin_http(ctx,
                     &(purlin_http_call){.method = "POST",
                                         .url = to->url,
                                         .headers = headers,
                                         .body = body.text,
                                         .body_size = body.size,
                                         .max_answer = MOST_ANSWER,
                                         .timeout_ms = TIMEOUT_MS},
                     answer);
}

bool webhook_was_heard(const purlin_http_answer *answer) { return answer->status >= 200 && answer->status < 300; }
