/*
** base: the result codes of every facade, and what an errno becomes.
*/
#include <ctype.h>
#include <errno.h>

#include "base/codes.h"
#include "check.h"

/* SAROS_FACADES stands for the table that all share. */
static size_t count(unsigned facade) {
  size_t n = 0;
  while (code_at((saros_facade)facade, n) != NULL) n++;
  return n;
}

TEST(codes_are_sorted_and_once_in_each_facade) {
  for (unsigned f = 0; f <= SAROS_FACADES; f++) {
    size_t n = count(f);
    CHECK(n > 0);
    for (size_t i = 1; i < n; i++) {
      const code_entry *a = code_at((saros_facade)f, i - 1);
      const code_entry *b = code_at((saros_facade)f, i);
      if (a->code >= b->code) printf("%s before %s\n", a->name, b->name);
      CHECK(a->code < b->code);
    }
  }
  CHECK_INT(count(SAROS_FACADE_VSS), 81);
  CHECK_INT(count(SAROS_FACADE_WSB), 5);
  CHECK_INT(count(SAROS_FACADE_VDS), 178);
  CHECK_INT(count(SAROS_FACADE_BITS), 88);
  CHECK(code_at((saros_facade)(SAROS_FACADES + 1), 0) == NULL);
  CHECK(code_at((saros_facade)0x7000, 0) == NULL);
}

TEST(codes_are_found_by_number_and_by_name) {
  char buf[11];
  for (unsigned f = 0; f <= SAROS_FACADES; f++) {
    for (size_t i = 0; i < count(f); i++) {
      const code_entry *entry = code_at((saros_facade)f, i);
      uint32_t code = ~entry->code;
      CHECK(code_find((saros_facade)f, entry->code) == entry);
      CHECK_TEXT(code_name((saros_facade)f, entry->code, buf), entry->name);
      CHECK(code_value(entry->name, &code));
      CHECK_INT(code, entry->code);
    }
  }
}

TEST(codes_have_one_name_each) {
  for (unsigned f = 0; f <= SAROS_FACADES; f++)
    for (size_t i = 0; i < count(f); i++)
      for (unsigned g = 0; g <= SAROS_FACADES; g++)
        for (size_t j = 0; j < count(g); j++) {
          if (f == g && i == j) continue;
          const char *a = code_at((saros_facade)f, i)->name;
          const char *b = code_at((saros_facade)g, j)->name;
          if (strcmp(a, b) == 0) printf("twice: %s\n", a);
          CHECK(strcmp(a, b) != 0);
        }
}

TEST(codes_have_the_prefix_of_their_facade) {
  static const char *const prefix[][2] = {{"SAROS_", "SAROS_"},
                                          {"VSS_", "VSS_"},
                                          {"WSBAPP_", "WSBAPP_"},
                                          {"VDS_", "VDS_"},
                                          {"BG_", "QM_"}};
  for (unsigned f = 0; f < SAROS_FACADES; f++)
    for (size_t i = 0; i < count(f); i++) {
      const char *name = code_at((saros_facade)f, i)->name;
      CHECK(strncmp(name, prefix[f][0], strlen(prefix[f][0])) == 0 ||
            strncmp(name, prefix[f][1], strlen(prefix[f][1])) == 0);
      for (const char *c = name; *c != '\0'; c++)
        CHECK(isupper((unsigned char)*c) || isdigit((unsigned char)*c) ||
              *c == '_');
    }
}

/* By their letter, S_ is a success. One code is known to be odd. */
TEST(codes_have_the_severity_of_their_letter) {
  for (unsigned f = 0; f <= SAROS_FACADES; f++)
    for (size_t i = 0; i < count(f); i++) {
      const code_entry *entry = code_at((saros_facade)f, i);
      if (strcmp(entry->name, "VDS_S_GPT_BOOT_MIRRORED_TO_MBR") == 0) continue;
      const char *letter = strchr(entry->name, '_');
      if (f == SAROS_FACADES) letter = entry->name - 1;
      if (strncmp(letter + 1, "E_", 2) == 0) CHECK(code_failed(entry->code));
      if (strncmp(letter + 1, "S_", 2) == 0) CHECK(!code_failed(entry->code));
      if (strncmp(letter + 1, "ERROR_", 6) == 0)
        CHECK_INT(entry->code >> 16, 0x8007);
    }
  uint32_t code = 0;
  CHECK(code_value("VDS_S_GPT_BOOT_MIRRORED_TO_MBR", &code));
  CHECK_INT(code, 0x80042469u);
}

TEST(codes_differ_between_vss_and_vds) {
  char buf[11];
  CHECK_TEXT(code_name(SAROS_FACADE_VSS, 0x80042409u, buf),
             "VSS_E_WRITER_STATUS_NOT_AVAILABLE");
  CHECK_TEXT(code_name(SAROS_FACADE_VDS, 0x80042409u, buf),
             "VDS_E_OPERATION_PENDING");
  CHECK_TEXT(code_name(SAROS_FACADE_VSS, 0x80042400u, buf),
             "VSS_E_CLUSTER_ERROR");
  CHECK_TEXT(code_name(SAROS_FACADE_VDS, 0x80042400u, buf),
             "VDS_E_NOT_SUPPORTED");
  CHECK_TEXT(code_name(SAROS_FACADE_VDS, 0x80042417u, buf),
             "VDS_E_DISK_NOT_INITIALIZED");
  CHECK_TEXT(code_name(SAROS_FACADE_VSS, 0x80042417u, buf),
             "VSS_E_FSS_TIMEOUT");
  /* A facade without the number does not borrow another's name for it. */
  CHECK_TEXT(code_name(SAROS_FACADE_BITS, 0x80042409u, buf), "0x80042409");
  CHECK_TEXT(code_name(SAROS_FACADE_SAROS, 0x80042409u, buf), "0x80042409");
}

TEST(codes_of_the_facts) {
  static const struct {
    saros_facade facade;
    uint32_t code;
    const char *name;
  } facts[] = {
      {SAROS_FACADE_VSS, 0x00042309u, "VSS_S_ASYNC_PENDING"},
      {SAROS_FACADE_VSS, 0x0004230Au, "VSS_S_ASYNC_FINISHED"},
      {SAROS_FACADE_VSS, 0x0004230Bu, "VSS_S_ASYNC_CANCELLED"},
      {SAROS_FACADE_VSS, 0x80042301u, "VSS_E_BAD_STATE"},
      {SAROS_FACADE_VSS, 0x8004231Fu, "VSS_E_INSUFFICIENT_STORAGE"},
      {SAROS_FACADE_VSS, 0x00042321u, "VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED"},
      {SAROS_FACADE_VSS, 0x80042321u, "VSS_E_SOME_SNAPSHOTS_NOT_IMPORTED"},
      {SAROS_FACADE_VSS, 0x80042312u,
       "VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED"},
      {SAROS_FACADE_VSS, 0x80042336u, "VSS_E_WRITERERROR_PARTIAL_FAILURE"},
      {SAROS_FACADE_VSS, 0x800423F2u, "VSS_E_WRITERERROR_TIMEOUT"},
      {SAROS_FACADE_VSS, 0x800423F5u, "VSS_E_WRITERERROR_RECOVERY_FAILED"},
      {SAROS_FACADE_VSS, 0x80042401u, "VSS_E_ASRERROR_DISK_ASSIGNMENT_FAILED"},
      {SAROS_FACADE_VSS, 0x80042411u, "VSS_E_CRITICAL_VOLUME_ON_INVALID_DISK"},
      {SAROS_FACADE_VSS, 0x80042416u, "VSS_E_ASRERROR_SYSTEM_PARTITION_HIDDEN"},
      {SAROS_FACADE_WSB, 0x807A0001u,
       "WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED"},
      {SAROS_FACADE_WSB, 0x407A0004u, "WSBAPP_ASYNC_IN_PROGRESS"},
      {SAROS_FACADE_WSB, 0x007A0004u, "WSBAPP_ASYNC_IN_PROGRESS_NEW"},
      {SAROS_FACADE_WSB, 0x800704C7u, "ERROR_CANCELLED"},
      {SAROS_FACADE_VDS, 0x0004241Au, "VDS_S_DISK_PARTIALLY_CLEANED"},
      {SAROS_FACADE_VDS, 0x00042436u, "VDS_S_BOOT_PARTITION_NUMBER_CHANGE"},
      {SAROS_FACADE_VDS, 0x80042436u, "VDS_E_BOOT_PARTITION_NUMBER_CHANGE"},
      {SAROS_FACADE_VDS, 0x00042517u, "VDS_S_NO_NOTIFICATION"},
      {SAROS_FACADE_VDS, 0x80042464u, "VDS_E_ONLINE_PACK_EXISTS"},
      {SAROS_FACADE_VDS, 0x8004280Eu, "VDS_E_CRASHDUMP_DISK"},
      {SAROS_FACADE_BITS, 0x80200001u, "BG_E_NOT_FOUND"},
      {SAROS_FACADE_BITS, 0x80200003u, "BG_E_EMPTY"},
      {SAROS_FACADE_BITS, 0x00200006u, "BG_S_ERROR_CONTEXT_NONE"},
      {SAROS_FACADE_BITS, 0x8020000Cu,
       "BG_E_ERROR_CONTEXT_QUEUE_MANAGER_NOTIFICATION"},
      {SAROS_FACADE_BITS, 0x00200017u, "BG_S_PARTIAL_COMPLETE"},
      {SAROS_FACADE_BITS, 0x80200040u, "BG_E_INVALID_CREDENTIALS"},
      {SAROS_FACADE_BITS, 0x80200050u, "BG_E_TOO_MANY_JOBS_PER_MACHINE"},
      {SAROS_FACADE_BITS, 0x00200055u, "BG_S_OVERRIDDEN_BY_POLICY"},
      {SAROS_FACADE_BITS, 0x81001001u, "QM_E_INVALID_STATE"},
      {SAROS_FACADE_BITS, 0x10u, "QM_STATUS_JOB_ERROR"},
      {SAROS_FACADE_BITS, 0x80190194u, "BG_E_HTTP_ERROR_404"},
      {SAROS_FACADE_BITS, 0x801901F7u, "BG_E_HTTP_ERROR_503"},
      {SAROS_FACADE_SAROS, 0x25A50001u, "SAROS_S_PENDING"},
      {SAROS_FACADE_SAROS, 0xA5A50001u, "SAROS_E_FORKED"},
      {SAROS_FACADE_SAROS, 0xA5A50014u, "SAROS_E_REFUSED"},
      {SAROS_FACADE_SAROS, 0x800704C7u, "SAROS_E_CANCELLED"},
      {SAROS_FACADE_SAROS, 0x80190194u, "BG_E_HTTP_ERROR_404"},
      {SAROS_FACADE_SAROS, 0u, "S_OK"},
      {SAROS_FACADE_BITS, 0u, "S_OK"},
      {SAROS_FACADE_VDS, 1u, "S_FALSE"},
      {SAROS_FACADE_VSS, 0x80004001u, "E_NOTIMPL"},
      {SAROS_FACADE_VSS, 0x80004003u, "E_POINTER"},
      {SAROS_FACADE_VSS, 0x80004004u, "E_ABORT"},
      {SAROS_FACADE_VSS, 0x80004005u, "E_FAIL"},
      {SAROS_FACADE_VSS, 0x8000FFFFu, "E_UNEXPECTED"},
      {SAROS_FACADE_VSS, 0x80070005u, "E_ACCESSDENIED"},
      {SAROS_FACADE_VSS, 0x8007000Eu, "E_OUTOFMEMORY"},
      {SAROS_FACADE_VSS, 0x80070057u, "E_INVALIDARG"},
      {SAROS_FACADE_VDS, 0x80070070u, "ERROR_DISK_FULL"},
      {SAROS_FACADE_BITS, 0x800704C9u, "ERROR_CONNECTION_REFUSED"},
      {SAROS_FACADE_BITS, 0x80072EE7u, "ERROR_WINHTTP_NAME_NOT_RESOLVED"},
  };
  char buf[11];
  for (size_t i = 0; i < sizeof facts / sizeof facts[0]; i++)
    CHECK_TEXT(code_name(facts[i].facade, facts[i].code, buf), facts[i].name);
}

TEST(codes_that_are_unknown_are_hexadecimal) {
  char buf[11];
  const char *name = code_name(SAROS_FACADE_VSS, 0x8004ABCDu, buf);
  CHECK(name == buf);
  CHECK_TEXT(name, "0x8004ABCD");
  CHECK_TEXT(code_name(SAROS_FACADE_VSS, 0x2u, buf), "0x00000002");
  CHECK(code_find(SAROS_FACADE_VSS, 0x8004ABCDu) == NULL);
  CHECK(code_find(SAROS_FACADE_VSS, 0xFFFFFFFFu) == NULL);
  /* Whoever has no facade still has what all share. */
  CHECK_TEXT(code_name((saros_facade)99, 0u, buf), "S_OK");
  CHECK_TEXT(code_name(SAROS_FACADES, 0x80070070u, buf), "ERROR_DISK_FULL");
  uint32_t code = 7;
  CHECK(!code_value("VSS_E_NO_SUCH_CODE", &code));
  CHECK(!code_value("BAD_STATE", &code));
  CHECK(!code_value("vss_e_bad_state", &code));
  CHECK(!code_value("", &code));
  CHECK(!code_value(NULL, &code));
  CHECK_INT(code, 7);
}

TEST(codes_have_second_names) {
  static const struct {
    const char *name;
    uint32_t code;
  } aliases[] = {
      {"SAROS_S_OK", 0},
      {"SAROS_S_FALSE", 1},
      {"SAROS_E_FAIL", 0x80004005u},
      {"SAROS_E_OUTOFMEMORY", 0x8007000Eu},
      {"ERROR_ACCESS_DENIED", 0x80070005u},
      {"ERROR_OUTOFMEMORY", 0x8007000Eu},
      {"ERROR_INVALID_PARAMETER", 0x80070057u},
      {"QM_STATUS_FILE_COMPLETE", 1},
      {"QM_STATUS_FILE_INCOMPLETE", 2},
  };
  for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
    uint32_t code = ~aliases[i].code;
    CHECK(code_value(aliases[i].name, &code));
    CHECK_INT(code, aliases[i].code);
  }
}

static FILE *open_header(void) {
  static const char me[] = __FILE__;
  char path[4096];
  const char *slash = strrchr(me, '/');
  int size = slash != NULL ? (int)(slash - me) : 0;
  snprintf(path, sizeof path, "%.*s/../../csrc/saros.h", size, me);
  FILE *file = slash != NULL ? fopen(path, "r") : NULL;
  return file != NULL ? file : fopen("csrc/saros.h", "r");
}

static bool is_code(const char *name) {
  static const char *const prefixes[] = {
      "SAROS_S_", "SAROS_E_", "VSS_", "WSBAPP_", "VDS_", "QM_", "BG_"};
  for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
    if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0) return true;
  return false;
}

TEST(codes_of_the_header_are_all_here) {
  FILE *file = open_header();
  CHECK(file != NULL);
  if (file == NULL) return;
  char line[512], name[128], number[64];
  int found = 0;
  while (fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "#define %127s %63s", name, number) != 2) continue;
    if (!is_code(name)) continue;
    char *end;
    unsigned long wanted = strtoul(number, &end, 16);
    CHECK_TEXT(end, "u");
    uint32_t code = ~(uint32_t)wanted;
    bool known = code_value(name, &code);
    if (!known) printf("%s is not in the tables\n", name);
    CHECK(known);
    CHECK_INT(code, wanted);
    found++;
    /* saros itself emits these, so a person gets a sentence. */
    for (unsigned f = 0; f < SAROS_FACADES; f++) {
      const code_entry *entry = code_find((saros_facade)f, code);
      if (entry == NULL || strcmp(entry->name, name) != 0) continue;
      CHECK(entry->text != NULL);
    }
  }
  fclose(file);
  CHECK(found >= 50);
}

/* VSS section 2, VDS 5.1, and what waits and queries answer. */
TEST(codes_that_are_emitted_have_a_text) {
  static const char *const vss[] = {"FLUSH_WRITES_TIMEOUT",
                                    "HOLD_WRITES_TIMEOUT",
                                    "NESTED_VOLUME_LIMIT",
                                    "REBOOT_REQUIRED",
                                    "TRANSACTION_FREEZE_TIMEOUT",
                                    "TRANSACTION_THAW_TIMEOUT",
                                    "INSUFFICIENT_STORAGE",
                                    "PROVIDER_VETO",
                                    "UNEXPECTED_PROVIDER_ERROR",
                                    "UNEXPECTED_WRITER_ERROR",
                                    "NO_SNAPSHOTS_IMPORTED",
                                    "SOME_SNAPSHOTS_NOT_IMPORTED",
                                    "OBJECT_NOT_FOUND",
                                    "VOLUME_NOT_SUPPORTED",
                                    "BREAK_REVERT_ID_FAILED",
                                    "LEGACY_PROVIDER",
                                    "UNSELECTED_VOLUME",
                                    "CANNOT_REVERT_DISKID",
                                    "REVERT_IN_PROGRESS",
                                    "UNSUPPORTED_CONTEXT",
                                    "VOLUME_IN_USE",
                                    "PROVIDER_NOT_REGISTERED",
                                    "WRITER_INFRASTRUCTURE",
                                    "BAD_STATE",
                                    "UNEXPECTED"};
  static const uint32_t vds[] = {
      0x80042400u, 0x80042404u, 0x80042406u, 0x80042409u, 0x8004240Au,
      0x8004240Bu, 0x8004240Cu, 0x8004240Du, 0x8004240Eu, 0x80042419u,
      0x0004241Au, 0x80042427u, 0x80042431u, 0x00042434u, 0x00042443u,
      0x0004244Du, 0x8004244Eu, 0x80042453u, 0x8004245Fu, 0x80042461u,
      0x80042463u, 0x80042469u, 0x00042517u, 0x80042574u};
  for (size_t i = 0; i < sizeof vss / sizeof vss[0]; i++) {
    char name[64];
    uint32_t code;
    snprintf(name, sizeof name, "VSS_E_%s", vss[i]);
    CHECK(code_value(name, &code));
    CHECK(code_find(SAROS_FACADE_VSS, code)->text != NULL);
  }
  for (size_t i = 0; i < sizeof vds / sizeof vds[0]; i++) {
    const code_entry *entry = code_find(SAROS_FACADE_VDS, vds[i]);
    CHECK(entry != NULL && entry->text != NULL);
  }
  for (unsigned f = 0; f <= SAROS_FACADES; f++)
    for (size_t i = 0; i < count(f); i++) {
      const char *text = code_at((saros_facade)f, i)->text;
      if (f == SAROS_FACADE_SAROS || f == SAROS_FACADES) CHECK(text != NULL);
      if (text == NULL) continue;
      size_t size = strlen(text); /* a sentence */
      CHECK(size > 5 && text[size - 1] == '.');
      CHECK(isupper((unsigned char)text[0]));
    }
}

TEST(codes_know_what_is_worth_a_retry) {
  static const char *const retryable[] = {
      "VSS_E_PROVIDER_VETO",
      "VSS_E_UNEXPECTED_PROVIDER_ERROR",
      "VSS_E_FLUSH_WRITES_TIMEOUT",
      "VSS_E_HOLD_WRITES_TIMEOUT",
      "VSS_E_WRITERERROR_OUTOFRESOURCES",
      "VSS_E_WRITERERROR_TIMEOUT",
      "VSS_E_WRITERERROR_RETRYABLE",
      "VSS_E_SNAPSHOT_SET_IN_PROGRESS",
      "VDS_E_RETRY",
      "VDS_E_TIMEOUT",
      "VDS_E_LDM_TIMEOUT",
      "BG_E_NETWORK_DISCONNECTED",
      "BG_E_TIMEOUT",
      "BG_E_HTTP_ERROR_503",
      "BG_E_HTTP_ERROR_429",
      "SAROS_E_LOCKED",
      "SAROS_E_TIMEOUT",
      "ERROR_CONNECTION_REFUSED",
      "ERROR_TIMEOUT",
      "ERROR_BUSY",
      "ERROR_RETRY",
  };
  static const char *const final[] = {
      "S_OK",
      "E_FAIL",
      "E_ACCESSDENIED",
      "E_OUTOFMEMORY",
      "E_INVALIDARG",
      "ERROR_DISK_FULL",
      "ERROR_CANCELLED",
      "SAROS_E_CANCELLED",
      "SAROS_E_WRONG_PASSWORD",
      "SAROS_E_DAMAGED",
      "VSS_S_ASYNC_PENDING",
      "VSS_E_WRITERERROR_NONRETRYABLE",
      "VSS_E_BAD_STATE",
      "VDS_E_OPERATION_PENDING",
      "VDS_E_OPERATION_CANCELED",
      "BG_E_HTTP_ERROR_404",
      "BG_E_VALIDATION_FAILED",
  };
  for (int wanted = 0; wanted <= 1; wanted++) {
    const char *const *names = wanted ? retryable : final;
    size_t n = wanted ? sizeof retryable / sizeof retryable[0]
                      : sizeof final / sizeof final[0];
    for (size_t i = 0; i < n; i++) {
      const code_entry *entry = NULL;
      for (unsigned f = 0; f <= SAROS_FACADES && entry == NULL; f++)
        for (size_t j = 0; j < count(f) && entry == NULL; j++)
          if (strcmp(code_at((saros_facade)f, j)->name, names[i]) == 0)
            entry = code_at((saros_facade)f, j);
      if (entry == NULL || entry->retryable != wanted)
        printf("%s should%s be retryable\n", names[i], wanted ? "" : " not");
      CHECK(entry != NULL && entry->retryable == wanted);
    }
  }
}

TEST(codes_of_errno) {
  static const struct {
    int error;
    uint32_t win32;
  } pairs[] = {
      {ENOENT, 2},
      {EMFILE, 4},
      {ENFILE, 4},
      {EACCES, 5},
      {EPERM, 5},
      {EBADF, 6},
      {ENOMEM, 14},
      {EXDEV, 17},
      {EROFS, 19},
      {ETXTBSY, 32},
      {ENOSYS, 50},
      {EOPNOTSUPP, 50},
      {ENOTTY, 50},
      {EINVAL, 87},
      {EPIPE, 109},
      {ENOSPC, 112},
      {EDQUOT, 112},
      {ENOTEMPTY, 145},
      {EBUSY, 170},
      {EEXIST, 183},
      {ENAMETOOLONG, 206},
      {EFBIG, 223},
      {ENOTDIR, 267},
      {EISDIR, 336},
      {EINTR, 995},
      {ESTALE, 1006},
      {EIO, 1117},
      {ECANCELED, 1223},
      {ECONNREFUSED, 1225},
      {ENETUNREACH, 1231},
      {EHOSTUNREACH, 1232},
      {EAGAIN, 1237},
      {ETIMEDOUT, 1460},
      {ELOOP, 1921},
      {0, 0},
      {99999, 31},
      {-1, 31},
  };
  for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
    CHECK_INT(code_win32_of_errno(pairs[i].error), pairs[i].win32);
    uint32_t whole = pairs[i].win32 == 0 ? 0 : 0x80070000u | pairs[i].win32;
    CHECK_INT(code_of_errno(pairs[i].error), whole);
  }
  CHECK_INT(code_of_errno(ENOMEM), SAROS_E_OUTOFMEMORY);
  CHECK_INT(code_of_errno(EINVAL), SAROS_E_INVALIDARG);
  CHECK_INT(code_of_errno(EACCES), SAROS_E_ACCESSDENIED);
  CHECK_INT(code_of_errno(ECANCELED), SAROS_E_CANCELLED);
  CHECK_INT(code_of_errno(ETIMEDOUT), SAROS_E_TIMEOUT);
}

TEST(codes_of_every_errno_have_a_name) {
  for (int error = 1; error < 200; error++) {
    CHECK(code_win32_of_errno(error) != 0);
    CHECK(code_failed(code_of_errno(error)));
    if (code_find(SAROS_FACADE_SAROS, code_of_errno(error)) == NULL)
      printf("errno %d has no name\n", error);
    CHECK(code_find(SAROS_FACADE_SAROS, code_of_errno(error)) != NULL);
  }
}

TEST(codes_macros) {
  CHECK_INT(code_of_win32(0), 0);
  CHECK_INT(code_of_win32(112), 0x80070070u);
  CHECK_INT(code_of_win32(12007), 0x80072EE7u);
  CHECK(code_failed(0x80070070u));
  CHECK(code_failed(VDS_E_OPERATION_PENDING)); /* and yet it has not ended */
  CHECK(!code_failed(WSBAPP_ASYNC_IN_PROGRESS));
  CHECK(!code_failed(0u));
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(codes_are_sorted_and_once_in_each_facade);
  RUN(codes_are_found_by_number_and_by_name);
  RUN(codes_have_one_name_each);
  RUN(codes_have_the_prefix_of_their_facade);
  RUN(codes_have_the_severity_of_their_letter);
  RUN(codes_differ_between_vss_and_vds);
  RUN(codes_of_the_facts);
  RUN(codes_that_are_unknown_are_hexadecimal);
  RUN(codes_have_second_names);
  RUN(codes_of_the_header_are_all_here);
  RUN(codes_that_are_emitted_have_a_text);
  RUN(codes_know_what_is_worth_a_retry);
  RUN(codes_of_errno);
  RUN(codes_of_every_errno_have_a_name);
  RUN(codes_macros);
  return check_end();
}
