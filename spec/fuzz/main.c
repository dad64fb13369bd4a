/*
** A fuzz target as a plain program, for machines without libFuzzer and for
** every `make test`: feeds it the files in the folders that it is given. A
** target that brings its own main (under FUZZ_MAIN) has that instead.
*/
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file's bytes in a block of exactly that size, so that a sanitizer sees
   a read beyond its end. */
static uint8_t *contents(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) return NULL;
  uint8_t *data = NULL;
  long end = -1;
  if (fseek(f, 0, SEEK_END) == 0 && (end = ftell(f)) >= 0 &&
      fseek(f, 0, SEEK_SET) == 0) {
    *size = (size_t)end;
    data = malloc(*size > 0 ? *size : 1);
    if (data != NULL && fread(data, 1, *size, f) != *size) {
      free(data);
      data = NULL;
    }
  }
  fclose(f);
  return data;
}


__attribute__((weak)) int main(int argc, char **argv) {
  int passed = 0, failed = 0;
  setvbuf(stdout, NULL, _IONBF, 0);
  for (int i = 1; i < argc; i++) {
    DIR *folder = opendir(argv[i]);
    if (folder == NULL) continue; /* no corpus yet */
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
      char path[4096];
      size_t size;
      if (e->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
      printf("%s\n", path); /* the last one printed is the one that crashed */
      uint8_t *data = contents(path, &size);
      if (data == NULL) {
        printf("FAILED %s: cannot be read\n", path);
        failed++;
        continue;
      }
      LLVMFuzzerTestOneInput(data, size);
      free(data);
      passed++;
    }
    closedir(folder);
  }
  printf("%d passed, %d failed, 0 skipped\n", passed, failed);
  return failed > 0;
}
