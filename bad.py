import socket,time,threading,urllib.request,os
A=('127.0.0.1',9419)
def c(): s=socket.create_connection(A); s.settimeout(10); return s
silent=[c() for _ in range(200)]
def ok():
    t=time.time(); b=urllib.request.urlopen('http://127.0.0.1:9419/metrics',timeout=10).read(); return len(b), round(time.time()-t,4)
print('after silent', ok())
# flood
stop=False
def flood():
    while not stop:
        try:
            s=c(); s.sendall(b'GET /metrics HTTP/1.1\r\n'); s.close()
        except OSError as e: pass
def big():
    while not stop:
        try:
            s=c()
            for _ in range(1000): s.sendall(b'x'*65536)
        except OSError: pass
def noread():
    while not stop:
        try:
            s=c(); s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            for _ in range(100): s.sendall(b'GET /metrics HTTP/1.1\r\n\r\n')
            time.sleep(.1)
        except OSError: pass
ts=[threading.Thread(target=f) for f in (flood,flood,big,noread)]
[t.start() for t in ts]
r=[]
for _ in range(50):
    try: r.append(ok()[1])
    except Exception as e: r.append(repr(e))
print('under flood', r)
pid=[p for p in os.listdir('/proc') if p.isdigit() and open(f'/proc/{p}/cmdline').read().startswith('./cobuf\0run')]
for p in pid: print(p, len(os.listdir(f'/proc/{p}/fd')), [l for l in open(f'/proc/{p}/status') if l.startswith(('VmRSS','Threads'))])
stop=True; [t.join() for t in ts]
time.sleep(6)
for p in pid: print('later', p, len(os.listdir(f'/proc/{p}/fd')))
n=0
for s in silent:
    s.setblocking(False)
    try: n+= s.recv(1)==b''
    except OSError as e: n+= isinstance(e,ConnectionResetError)
print('closed', n, 'of', len(silent))
