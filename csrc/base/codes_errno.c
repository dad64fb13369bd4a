/*
** codes: what an errno is called in Win32, where the four services come
** from. The pairs are those that a Windows file server, Cygwin or the
** services' own documents would give; where two would do, the one that
** tells a person more.
*/
#include <errno.h>

#include "base/codes.h"

enum {
  GEN_FAILURE = 31 /* ERROR_GEN_FAILURE: of what has no name there */
};


static uint32_t of_file(int error) {
  switch (error) {
    case ENOENT: return 2;
    case EMFILE:
    case ENFILE: return 4;
    case EACCES:
    case EPERM: return 5;
    case EBADF: return 6;
    case EXDEV: return 17;
    case EROFS: return 19;
    case ETXTBSY: return 32;
    case ENOSPC:
    case EDQUOT: return 112;
    case ESPIPE: return 132;
    case ENOTEMPTY: return 145;
    case EBUSY: return 170;
    case EEXIST: return 183;
    case ENAMETOOLONG: return 206;
    case EFBIG: return 223;
    case ENOTDIR: return 267;
    case EISDIR: return 336;
    case ENODEV:
    case ENXIO: return 433;
    case ESTALE: return 1006;
    case ENOMEDIUM: return 1112;
    case EIO:
    case EREMOTEIO: return 1117;
    case EMLINK: return 1142;
    case EUCLEAN: return 1392;
    case EMEDIUMTYPE: return 1785;
    case ELOOP: return 1921;
    default: return 0;
  }
}


static uint32_t of_network(int error) {
  switch (error) {
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
    case EAFNOSUPPORT:
    case EPFNOSUPPORT: return 50;
    case ECONNRESET:
    case ENETRESET: return 64;
    case EPIPE:
    case ESHUTDOWN: return 109;
    case EINPROGRESS:
    case EALREADY: return 997;
    case ECONNREFUSED: return 1225;
    case EADDRINUSE: return 1227;
    case EADDRNOTAVAIL: return 1228;
    case ENETDOWN:
    case ENETUNREACH: return 1231;
    case EHOSTDOWN:
    case EHOSTUNREACH: return 1232;
    case ECONNABORTED: return 1236;
    case ENOBUFS: return 1450;
    case ETIMEDOUT:
    case ETIME: return 1460;
    case ENOTCONN: return 2250;
    default: return 0;
  }
}


static uint32_t of_call(int error) {
  switch (error) {
    case E2BIG: return 10;
    case EBADMSG: return 13;
    case ENOMEM: return 14; /* E_OUTOFMEMORY */
    case EMSGSIZE: return 24;
    case ENOSYS:
    case EOPNOTSUPP: /* also ENOTSUP */
    case ENOTTY: return 50;
    case EINVAL:
    case EDOM: return 87; /* E_INVALIDARG */
    case ECHILD: return 128;
    case ENOLCK: return 167;
    case ENOEXEC: return 193;
    case ERANGE:
    case EOVERFLOW: return 534;
    case EINTR: return 995;
    case EFAULT: return 998;
    case EILSEQ: return 1113;
    case EDEADLK: return 1131;
    case ESRCH:
    case ENODATA: return 1168;
    case ECANCELED: return 1223;
    case EAGAIN: return 1237; /* also EWOULDBLOCK */
    default: return GEN_FAILURE;
  }
}


uint32_t code_win32_of_errno(int error) {
  if (error == 0) return 0;
  uint32_t win32 = of_file(error);
  if (win32 == 0) win32 = of_network(error);
  return win32 != 0 ? win32 : of_call(error);
}


uint32_t code_of_errno(int error) {
  return code_of_win32(code_win32_of_errno(error));
}
