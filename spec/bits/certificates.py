"""Certificates that are right, and such as are not; made by openssl."""
import ssl
import subprocess


def openssl(*args):
    subprocess.run(("openssl",) + args, check=True, capture_output=True)


def make(folder):
    """One context each, behind DIR/ca.pem: right, another name, over, signed by itself."""
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
           "-nodes")
    ca, ca_key = f"{folder}/ca.pem", f"{folder}/ca.key"
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=saros tests",
            "-keyout", ca_key, "-out", ca)
    contexts = []
    for name, who, days in (("right", "IP:127.0.0.1", "2"),
                            ("name", "DNS:elsewhere.test", "2"),
                            ("over", "IP:127.0.0.1", "-1"),
                            ("self", "IP:127.0.0.1", None)):
        cert, own = f"{folder}/{name}.pem", f"{folder}/{name}.key"
        if days is None:
            openssl("req", "-x509", *key, "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName={who}", "-keyout", own,
                    "-out", cert)
        else:
            wish, more = f"{folder}/{name}.csr", f"{folder}/{name}.ext"
            with open(more, "w") as f:
                f.write(f"subjectAltName={who}\n")
            openssl("req", *key, "-subj", f"/CN={name}", "-keyout", own,
                    "-out", wish)
            openssl("x509", "-req", "-in", wish, "-CA", ca, "-CAkey", ca_key,
                    "-CAcreateserial", "-days", days, "-extfile", more,
                    "-out", cert)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, own)
        contexts.append(context)
    return contexts
