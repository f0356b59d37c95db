//! What lies between a daemon and its database: it breaks off, is slow, or swallows what is sent.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

/// A simple query that says COMMIT, as the protocol has it.
pub(crate) const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// What is sent over each new connection that writes.
pub(crate) const OPENING: &[u8] = b"SET idle_in_transaction";

/// A proxy on a port of this machine, for as long as it is there.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

/// What happens to something that is sent, e.g. the next commit, and to the connection that it comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Catch {
    /// The connection breaks before the server hears of it: it is not done.
    ResetBefore,
    /// The server does it, and the connection breaks before it can say so.
    ResetAfter,
    /// The server does it, and nobody ever hears anything of that connection again.
    MuteAfter,
}

#[derive(Default)]
struct Rules {
    delay: Duration,
    swallow: bool,
    catch: Option<(&'static [u8], Catch)>,
}

#[derive(Default)]
struct Shared {
    socket: PathBuf,
    rules: Mutex<Rules>,
    links: Mutex<Vec<Arc<Link>>>,
    /// How often that happened.
    caught: AtomicU64,
}

/// One connection.
#[derive(Default)]
struct Link {
    /// What comes is thrown away, and neither side hears anything.
    mute: AtomicBool,
    /// The server's side is closed.
    forgotten: CancellationToken,
    reset: CancellationToken,
}

impl Proxy {
    /// One that leads to `socket`.
    pub(crate) fn to(socket: PathBuf) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared { socket, ..Shared::default() });
        let listening = shared.clone();
        runtime.spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("it listens");
                let link = Arc::new(Link::default());
                link.mute.store(listening.rules().swallow, Ordering::Relaxed);
                listening.links().push(link.clone());
                tokio::spawn(carry(listening.clone(), link, client));
            }
        });
        Proxy { port, shared, _runtime: runtime }
    }

    /// All connections break, as when a machine between the two is switched off and on.
    pub(crate) fn reset(&self) {
        self.shared.links().drain(..).for_each(|link| link.reset.cancel());
    }

    /// All connections that there are fall silent for ever; new ones go well. If the server forgets them it has closed its
    /// side, and the daemon never hears of that.
    pub(crate) fn mute(&self, server_forgets: bool) {
        for link in self.shared.links().iter() {
            link.mute.store(true, Ordering::Relaxed);
            if server_forgets {
                link.forgotten.cancel();
            }
        }
    }

    /// Whatever is sent, and whoever connects, gets no answer, until this is taken back. The server is not told either.
    pub(crate) fn swallow(&self, swallow: bool) {
        self.shared.rules().swallow = swallow;
        if swallow {
            self.mute(false);
        } else {
            // Those bytes are lost, so their connections can not go on.
            self.reset();
        }
    }

    /// Everything takes so much longer in each direction.
    pub(crate) fn delay(&self, delay: Duration) {
        self.shared.rules().delay = delay;
    }

    /// Something happens to the next that is sent with these bytes in it.
    pub(crate) fn catch(&self, bytes: &'static [u8], what: Catch) {
        self.shared.rules().catch = Some((bytes, what));
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.shared.links().iter().filter(|link| Arc::strong_count(link) > 1).count()
    }

    /// How often something was caught so far.
    pub(crate) fn caught(&self) -> u64 {
        self.shared.caught.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().expect("nobody panicked")
    }

    fn links(&self) -> MutexGuard<'_, Vec<Arc<Link>>> {
        self.links.lock().expect("nobody panicked")
    }

    async fn delayed(&self) {
        let delay = self.rules().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// What is to happen to these bytes, once.
    fn caught_by(&self, bytes: &[u8]) -> Option<Catch> {
        let mut rules = self.rules();
        let wanted = rules.catch.filter(|(wanted, _)| bytes.windows(wanted.len()).any(|part| part == *wanted))?;
        rules.catch = None;
        Some(wanted.1)
    }
}

/// Closes a connection so that its other side is told that it broke.
fn break_off(client: TcpStream) {
    let _ = client.set_zero_linger();
}

/// What the server says; nothing, for ever, if its side is closed.
async fn hear(server: &mut Option<UnixStream>, bytes: &mut [u8]) -> std::io::Result<usize> {
    match server {
        Some(server) => server.read(bytes).await,
        None => std::future::pending().await,
    }
}

async fn carry(shared: Arc<Shared>, link: Arc<Link>, mut client: TcpStream) {
    let mut server = match UnixStream::connect(&shared.socket).await {
        Ok(server) => Some(server),
        Err(_) => return break_off(client),
    };
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            () = link.reset.cancelled() => return break_off(client),
            () = link.forgotten.cancelled(), if server.is_some() => server = None,
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                let Some(server) = server.as_mut().filter(|_| !link.mute.load(Ordering::Relaxed)) else { continue };
                shared.delayed().await;
                let caught = shared.caught_by(&up[..count]);
                if caught != Some(Catch::ResetBefore) && server.write_all(&up[..count]).await.is_err() {
                    return break_off(client);
                }
                let Some(caught) = caught else { continue };
                if caught != Catch::ResetBefore {
                    // It is done once the server says so.
                    let _ = server.read(&mut down).await;
                }
                shared.caught.fetch_add(1, Ordering::Relaxed);
                if caught != Catch::MuteAfter {
                    return break_off(client);
                }
                link.mute.store(true, Ordering::Relaxed);
            }
            read = hear(&mut server, &mut down) => match read {
                Ok(count @ 1..) => {
                    if link.mute.load(Ordering::Relaxed) {
                        continue;
                    }
                    shared.delayed().await;
                    if client.write_all(&down[..count]).await.is_err() {
                        return;
                    }
                }
                _ if link.mute.load(Ordering::Relaxed) => server = None,
                _ => return break_off(client),
            },
        }
    }
}
