//! What every Rust client program here shares: how it reports what it tried, and how it waits. It prints "ok NAME" or "FAILED NAME: why" for each step and ends
//! with 1 when one failed.
use std::fmt::Debug;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[derive(Default)]
pub struct Report {
    failed: bool,
}

impl Report {
    pub async fn step(&mut self, name: &str, work: impl Future<Output = Outcome> + Send + 'static) {
        let outcome = match tokio::time::timeout(Duration::from_secs(150), tokio::spawn(work)).await {
            Ok(Ok(Ok(()))) => return println!("ok {name}"),
            Ok(Ok(Err(why))) => why.to_string(),
            Ok(Err(broken)) => broken.to_string(),
            Err(_) => "it did not end within 150 s".into(),
        };
        self.failed = true;
        println!("FAILED {name}: {}", outcome.replace('\n', " "));
    }

    pub fn end(self) -> ! {
        std::process::exit(i32::from(self.failed))
    }
}

/// The bootstrap server: the program's argument.
pub fn server() -> String {
    std::env::args().nth(1).expect("an argument: the bootstrap server")
}

pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
    format!("{name}-{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

pub fn same<A: PartialEq<B> + Debug, B: Debug>(found: A, wanted: B, what: &str) -> Outcome {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}: {found:?} instead of {wanted:?}").into())
}

pub async fn wait<F: Future<Output = Result<bool, Box<dyn std::error::Error + Send + Sync>>>>(what: &str, mut done: impl FnMut() -> F) -> Outcome {
    let until = Instant::now() + Duration::from_secs(60);
    while !done().await? {
        if Instant::now() > until {
            return Err(format!("{what}: not within 60 s").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
