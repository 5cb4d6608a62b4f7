//! nginx as a second opinion, where it is installed: set up as its makers advise for a proxy of keep-alive upstreams.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use waybill_tests::{Launch, Process, wait_until};

/// The program, when it is on the path.
pub fn installed() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian puts it where only root's path leads.
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("nginx")).find(|file| file.is_file())
}

/// Starts it on these cores.
pub fn start(program: &Path, upstream: SocketAddr, folder: &Path, cores: &str) -> Result<(Process, SocketAddr)> {
    // nginx cannot say which port it was given, so a free one is found for it; nothing else on a loopback of ours takes ports meanwhile.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let configuration = folder.join("nginx.conf");
    fs::write(&configuration, text(upstream, address, folder))?;
    let launch = Launch::new(program).args([Path::new("-c"), &configuration, Path::new("-p"), folder]).cores(cores);
    let mut process = launch.spawn(&folder.join("nginx.log"))?;
    wait_until("nginx", Duration::from_secs(10), || {
        process.still_runs()?;
        Ok(TcpStream::connect(address).ok())
    })
    .context("starting nginx")?;
    Ok((process, address))
}

fn text(upstream: SocketAddr, listen: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; client_max_body_size 32m; client_body_buffer_size 256k;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream mock {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; proxy_request_buffering off;
    }}
  }}
}}
"
    )
}
