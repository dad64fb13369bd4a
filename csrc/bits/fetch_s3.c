/*
** What is fetched from S3: asked for with a signature, and what the server says
** when it refuses is read, because it may be no more than the region.
*/
#include "bits/fetch_parts.h"
#include "bits/s3.h"

#define PROBLEM_MOST ((size_t)64 << 10)

struct fetch_s3 {
  bits_s3_place place;
  bits_s3_letter letter;
  buffer body; /* of a refusal */
};

/* Of a file without keys nothing is kept here. */
bool fetch_s3_write(fetch *t, const char *method, const char **url,
                    const http_field **fields, size_t *count) {
  if (t->s3 == NULL) {
    t->s3 = mem_zero(sizeof *t->s3);
    if (t->s3 == NULL) return false;
    bits_s3_place_begin(&t->s3->place, t->terms, t->f->url);
  }
  bits_s3_letter_free(&t->s3->letter);
  buffer_clear(&t->s3->body);
  bits_s3_ask ask = {.method = method, .url = t->f->url, .fields = BITS_S3_FEW};
  if (!bits_s3_write(&t->s3->place, t->terms, &ask, &t->s3->letter))
    return false;
  *url = t->s3->letter.url;
  *fields = t->s3->letter.fields;
  *count = t->s3->letter.count;
  return true;
}

void fetch_s3_body(fetch *t, const void *data, size_t size) {
  buffer *b = &t->s3->body;
  if (b->size + size <= PROBLEM_MOST) buffer_put(b, data, size);
}

bool fetch_s3_refused(fetch *t, const http_answer *a) {
  http_problem problem;
  const buffer *b = &t->s3->body;
  bits_s3_problem(t->terms, b->data, b->failed ? 0 : b->size, &problem);
  if (bits_s3_learn(&t->s3->place, a, &problem)) return true;
  bits_s3_judge(a, &problem, t->f->wrongs, &t->result);
  return false;
}

void fetch_s3_end(fetch *t) {
  if (t->s3 == NULL) return;
  bits_s3_letter_free(&t->s3->letter);
  bits_s3_place_end(&t->s3->place);
  buffer_free(&t->s3->body);
  mem_free(t->s3);
}
