/*
** What is read of S3's answers: records of a list, and a few texts.
*/
#include <string.h>

#include "bits/s3_upload.h"

static void clear(char **texts) {
  for (size_t i = 0; i < S3_XML_FIELDS; i++) {
    mem_free(texts[i]);
    texts[i] = NULL;
  }
}

/* The first one counts. */
static bool keep(char **texts, const char *const *names, const http_xml *x) {
  for (size_t i = 0; i < S3_XML_FIELDS && names[i] != NULL; i++)
    if (texts[i] == NULL && http_xml_is(x, names[i])) {
      texts[i] = mem_text(http_xml_text(x));
      return texts[i] != NULL;
    }
  return true;
}

static bool closed(s3_xml_list *l, const http_xml *x, bool in_record,
                   char **texts) {
  if (x->depth == 2 && in_record) return keep(texts, l->of_record, x);
  if (x->depth != 1) return true;
  if (!in_record) return keep(l->found, l->of_root, x);
  bool more = l->each(l->context, texts);
  clear(texts);
  return more;
}

bool s3_xml_read(s3_xml_list *l, const buffer *answer) {
  char *texts[S3_XML_FIELDS] = {NULL};
  bool right = false, in_record = false, good = true;
  http_xml x;
  http_xml_event event = HTTP_XML_BAD;
  memset(l->found, 0, sizeof l->found);
  http_xml_begin(&x, answer->data != NULL ? answer->data : "", answer->size);
  while (good && (event = http_xml_next(&x)) != HTTP_XML_END &&
         event != HTTP_XML_BAD) {
    if (event == HTTP_XML_OPEN) {
      if (x.depth == 1) right = http_xml_is(&x, l->root);
      if (x.depth == 2)
        in_record = l->record != NULL && http_xml_is(&x, l->record);
      good = right;
    } else {
      good = closed(l, &x, in_record, texts);
    }
  }
  http_xml_end(&x);
  clear(texts);
  if (good && event == HTTP_XML_END) return true;
  s3_xml_free(l);
  return false;
}

void s3_xml_free(s3_xml_list *l) {
  clear(l->found);
}

static void note_root(const buffer *answer, char called[64]) {
  http_xml x;
  http_xml_begin(&x, answer->data != NULL ? answer->data : "", answer->size);
  called[0] = '\0';
  if (http_xml_next(&x) == HTTP_XML_OPEN) {
    size_t size = x.name.size < 63 ? x.name.size : 63;
    memcpy(called, x.name.text, size);
    called[size] = '\0';
  }
  http_xml_end(&x);
}

char *s3_xml_text(const buffer *answer, const char *root, const char *name,
                  char called[64]) {
  s3_xml_list l = {.root = root, .of_root = {name}};
  if (called != NULL) note_root(answer, called);
  if (!s3_xml_read(&l, answer)) return NULL;
  char *text = l.found[0];
  l.found[0] = NULL;
  s3_xml_free(&l);
  return text;
}
