# What a kubelet serves of its pods' output, over TLS: GET /containerLogs/NAMESPACE/POD/CONTAINER. A file POD.log in
# NAMESPACE is the output so far, and POD.done says that it is all.
import http.server, os, ssl, sys, time

directory, certificate, key = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        _, what, namespace, pod, _container = path.split("/")
        base = os.path.join(directory, namespace, pod)
        if what != "containerLogs" or not os.path.exists(base + ".log"):
            return self.send_error(404)
        self.send_response(200)
        self.end_headers()
        with open(base + ".log", "rb") as log:
            while True:
                over = os.path.exists(base + ".done") or "follow=true" not in query
                self.wfile.write(log.read())
                self.wfile.flush()
                if over:
                    return
                time.sleep(0.02)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
