//! The native provider: server processes on ephemeral loopback ports, S3 in each test's process.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::background::blocking;
use crate::binaries::{self, BinaryError, Found};
use crate::development::Wishes;
use crate::memory;
use crate::poll::{self, PollError, Progress};
use crate::postgres::{self, PostgresAddress};
use crate::process::{self, Account, ServerCommand, ServerProcess};
use crate::provider::Started;
use crate::redis::{self, RedisAddress};
use crate::run_directory::{FirstSignal, RunDirectory};
use crate::s3::{InProcessS3, S3StartError};
use crate::stack::steps::{StackError, step};

/// How often a server may find its port taken by somebody else.
const PORT_ATTEMPTS: u32 = 5;
/// A server that has not answered by then never will.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What serves S3 in the test's process.
pub(crate) const S3_NAME: &str = "s3s-fs 0.14.1 (in process)";

/// Why a native server did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NativeError {
    /// A program is missing.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// Files, ports or processes.
    #[error("prepare {0}")]
    Prepare(&'static str, #[source] io::Error),
    /// `initdb` failed.
    #[error("initialise the data folder of Postgres: {0}")]
    Initdb(String),
    /// The server does not answer.
    #[error("hear from {program}, whose log ends with: {log}")]
    NoAnswer {
        /// The program.
        program: &'static str,
        /// The last lines of its log.
        log: String,
        /// What was waited for.
        #[source]
        source: PollError,
    },
    /// Several ports in a row were taken.
    #[error("bind {program}: {PORT_ATTEMPTS} free ports in a row were taken by somebody else")]
    Ports {
        /// The program.
        program: &'static str,
    },
}

/// Starts the three services at once.
pub(crate) async fn start(run: &Arc<RunDirectory>, wishes: &Wishes) -> Result<Started, StackError> {
    let account = Account::for_servers()
        .map_err(|error| NativeError::Prepare("an account for the servers", error));
    let account = step(
        "choose an account for the servers",
        Duration::from_secs(5),
        async { account },
    )
    .await?;
    let mark = run.mark("servers");
    step(
        "note that there are servers",
        Duration::from_secs(5),
        async { mark },
    )
    .await?;
    let (postgres, redis) = tokio::try_join!(
        step(
            "start Postgres",
            Duration::from_secs(240),
            start_postgres(run, account, wishes)
        ),
        step(
            "start Redis",
            Duration::from_secs(240),
            start_redis(run, account, wishes)
        ),
    )?;
    Ok(Started {
        postgres,
        redis,
        s3: None,
        s3_name: S3_NAME.to_owned(),
    })
}

/// The S3 server of one process, in its run's folder.
pub(crate) async fn start_s3(
    run: &RunDirectory,
    wishes: &Wishes,
) -> Result<InProcessS3, S3StartError> {
    let folder = wishes.folder(run.path(), "s3");
    std::fs::create_dir_all(&folder)
        .map_err(|error| S3StartError::Folder(format!("{}: {error}", folder.display())))?;
    let port = wishes.ports.s3;
    InProcessS3::start(&folder, port, "harness".to_owned(), wishes.secret()).await
}

/// The port that was asked for, else a free one.
fn port_for(wanted: u16) -> io::Result<u16> {
    if wanted == 0 {
        process::free_port()
    } else {
        Ok(wanted)
    }
}

async fn start_postgres(
    run: &Arc<RunDirectory>,
    account: Option<Account>,
    wishes: &Wishes,
) -> Result<PostgresAddress, NativeError> {
    let data = match wishes.keeps() {
        true => wishes.folder(run.path(), "postgres"),
        false => memory::folder(run).unwrap_or_else(|| run.path().join("postgres")),
    };
    let found = {
        let (data, run) = (data.clone(), Arc::clone(run));
        blocking(move || {
            let found = binaries::postgres(account, Some(&run))?;
            process::create_private(&data, account)
                .map_err(|error| NativeError::Prepare("the data folder of Postgres", error))?;
            // Kept state has been initialised before.
            if !data.join("PG_VERSION").exists() {
                initdb(&run, &found, &data, account)?;
            }
            Ok::<Found, NativeError>(found)
        })
        .await?
    };
    for _ in 0..PORT_ATTEMPTS {
        let port = port_for(wishes.ports.postgres)
            .map_err(|error| NativeError::Prepare("a port for Postgres", error))?;
        let mut arguments = vec!["-D".into(), data.clone().into_os_string()];
        let own = [
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            // No socket file: the run's folder may have a longer path than a socket can have.
            "unix_socket_directories=".to_owned(),
            "dynamic_shared_memory_type=mmap".to_owned(),
        ];
        let counting =
            has_statement_counter(&found.program).then(|| postgres::COUNT_STATEMENTS.to_owned());
        let settings = postgres::SETTINGS.map(str::to_owned);
        for setting in settings.into_iter().chain(own).chain(counting) {
            arguments.extend(["-c".into(), setting.into()]);
        }
        let server = ServerProcess::start(
            run,
            ServerCommand {
                name: "postgres",
                program: &found.program,
                arguments,
                folder: &data,
                account,
                first_signal: FirstSignal::Int,
            },
        )
        .map_err(|error| NativeError::Prepare("the Postgres process", error))?;
        let address = PostgresAddress { port };
        let answered = poll::until("Postgres to answer", ANSWER_TIMEOUT, || async {
            if let Some(status) = server.exit() {
                return Progress::Failed(format!("it ended with {status}"));
            }
            match postgres::data_directory(&address).await {
                Ok(folder) if Path::new(&folder) == data => Progress::Ready(()),
                Ok(folder) => {
                    Progress::NotYet(format!("another server, on {folder}, has the port"))
                }
                Err(error) => Progress::NotYet(error.to_string()),
            }
        })
        .await;
        match answered {
            Ok(()) => return Ok(address),
            Err(source) => {
                let log = server.log_tail();
                if !log.contains("could not bind") {
                    return Err(NativeError::NoAnswer {
                        program: "Postgres",
                        log,
                        source,
                    });
                }
            }
        }
    }
    Err(NativeError::Ports {
        program: "Postgres",
    })
}

/// Whether this Postgres has the library that counts statements: below `lib`, where Debian puts it, or
/// in the folder of its own that others give it there.
fn has_statement_counter(program: &Path) -> bool {
    let installed = program.parent().and_then(Path::parent);
    installed.is_some_and(|installed| {
        ["lib", "lib/postgresql"].iter().any(|folder| {
            installed
                .join(folder)
                .join("pg_stat_statements.so")
                .is_file()
        })
    })
}

fn initdb(
    run: &RunDirectory,
    found: &Found,
    data: &Path,
    account: Option<Account>,
) -> Result<(), NativeError> {
    let mut command = Command::new(found.program.with_file_name("initdb"));
    command
        .args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "-U",
            postgres::USER,
        ])
        .arg("-D")
        .arg(data)
        .current_dir(data)
        // By this the clean-up finds it when this process dies meanwhile: left to itself it would make the
        // folder again that was just removed.
        .env(process::RUN_VARIABLE, run.id())
        .process_group(0)
        .stdin(Stdio::null());
    Account::apply(account, &mut command);
    // Not a pipe, which would break with this process: the servers that initdb runs then end in disorder,
    // and leave their shared memory.
    let log = run.log_file("initdb");
    let status = File::create(&log)
        .and_then(|output| Ok((output.try_clone()?, output)))
        .and_then(|(output, errors)| command.stdout(output).stderr(errors).status())
        .map_err(|error| NativeError::Prepare("the data folder of Postgres with initdb", error))?;
    if status.success() {
        Ok(())
    } else {
        Err(NativeError::Initdb(process::log_tail(&log)))
    }
}

async fn start_redis(
    run: &Arc<RunDirectory>,
    account: Option<Account>,
    wishes: &Wishes,
) -> Result<RedisAddress, NativeError> {
    let data = wishes.folder(run.path(), "redis");
    let found = {
        let (data, run) = (data.clone(), Arc::clone(run));
        blocking(move || {
            process::create_private(&data, account)
                .map_err(|error| NativeError::Prepare("the data folder of Redis", error))?;
            Ok::<Found, NativeError>(binaries::redis(account, Some(&run))?)
        })
        .await?
    };
    let secret = wishes.secret();
    for _ in 0..PORT_ATTEMPTS {
        let port = port_for(wishes.ports.redis)
            .map_err(|error| NativeError::Prepare("a port for Redis", error))?;
        let mut arguments = redis::ARGUMENTS.map(Into::into).to_vec();
        if wishes.keep.is_some() {
            arguments.extend(["--appendonly", "yes"].map(Into::into));
        }
        arguments.extend(["--bind", "127.0.0.1", "--port"].map(Into::into));
        arguments.extend([port.to_string().into(), "--dir".into(), data.clone().into()]);
        arguments.extend(["--requirepass".into(), secret.clone().into()]);
        let server = ServerProcess::start(
            run,
            ServerCommand {
                name: "redis",
                program: &found.program,
                arguments,
                folder: &data,
                account,
                first_signal: FirstSignal::Term,
            },
        )
        .map_err(|error| NativeError::Prepare("the Redis process", error))?;
        let own_pid = server.pid().to_string();
        let address = RedisAddress {
            port,
            secret: secret.clone(),
        };
        let answered = poll::until("Redis to answer", ANSWER_TIMEOUT, || async {
            if let Some(status) = server.exit() {
                return Progress::Failed(format!("it ended with {status}"));
            }
            match redis::info(&address, "process_id").await {
                Ok(pid) if pid == own_pid => Progress::Ready(()),
                Ok(pid) => Progress::NotYet(format!("another server, process {pid}, has the port")),
                Err(error) => Progress::NotYet(error.to_string()),
            }
        })
        .await;
        match answered {
            Ok(()) => return Ok(address),
            Err(source) => {
                let log = server.log_tail();
                if !log.contains("Address already in use") {
                    return Err(NativeError::NoAnswer {
                        program: "Redis",
                        log,
                        source,
                    });
                }
            }
        }
    }
    Err(NativeError::Ports { program: "Redis" })
}
