//! What lies between a browser and a daemon, and can be cut and mended.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Wire {
    pub(crate) url: String,
    whole: watch::Sender<bool>,
}

impl Wire {
    /// One that leads to a server at `http://…`; ends with its test.
    pub(crate) async fn to(url: &str) -> Self {
        let behind = url.strip_prefix("http://").expect("a plain address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (whole, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (behind, mut state) = (behind.clone(), state.clone());
                tokio::spawn(async move {
                    let carry = async {
                        let mut server = TcpStream::connect(behind).await?;
                        copy_bidirectional(&mut client, &mut server).await
                    };
                    // Both ends are dropped when it is cut, or was cut already.
                    tokio::select! {
                        biased;
                        _ = state.wait_for(|whole| !whole) => {}
                        _ = carry => {}
                    }
                });
            }
        });
        Wire { url, whole }
    }

    /// What there is breaks, and nothing new comes through until it is mended.
    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}
