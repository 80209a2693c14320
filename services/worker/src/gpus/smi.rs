//! NVIDIA's own tool, which prints the numbers of its management library.
//!
//! A broken driver makes it fail, or hang where not even a kill reaches it; so it is never waited for without end, and
//! never started again beside one that hangs.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use ursa_proto::v1;

const PATIENCE: Duration = Duration::from_secs(10);
const QUERY: &str = "--query-gpu=index,name,memory.total,memory.free,driver_version,utilization.gpu";
const FORMAT: &str = "--format=csv,noheader,nounits";
/// What it says instead of a number that the device, the driver or the user's rights do not yield. The device works.
const UNKNOWN: [&str; 4] = ["[N/A]", "[Not Supported]", "[Insufficient Permissions]", "[Not Found]"];

/// See the module.
#[derive(Debug)]
pub(super) struct Smi {
    /// A program on PATH, and what is put in front of the query.
    words: Vec<String>,
    hanging: Option<Child>,
}

impl Smi {
    /// `words` is how the tool is started, without the query.
    pub(super) fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(|word| (*word).to_owned()).collect(), hanging: None }
    }

    /// Every GPU that works.
    ///
    /// # Errors
    /// Why nothing can be said: no tool, no driver, no answer in time.
    pub(super) async fn list(&mut self) -> Result<Vec<v1::Gpu>, String> {
        self.list_within(PATIENCE).await
    }

    async fn list_within(&mut self, patience: Duration) -> Result<Vec<v1::Gpu>, String> {
        let (program, words) = self.words.split_first().ok_or("no program")?;
        if let Some(mut hanging) = self.hanging.take()
            && matches!(hanging.try_wait(), Ok(None))
        {
            self.hanging = Some(hanging);
            return Err(format!("{program} hangs"));
        }
        let mut child = Command::new(program)
            .args(words)
            .args([QUERY, FORMAT])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{program} cannot be started: {error}"))?;
        let mut text = String::new();
        let Some(mut output) = child.stdout.take() else { return Err(format!("{program} has no output")) };
        let answer = async { (output.read_to_string(&mut text).await, child.wait().await) };
        match tokio::time::timeout(patience, answer).await {
            Ok((Ok(_), Ok(status))) => {
                let gpus = read(&text);
                // It fails because of one broken device, too, and lists the others.
                if status.success() || !gpus.is_empty() { Ok(gpus) } else { Err(format!("{program} fails: {status}")) }
            }
            Ok((Err(error), _) | (_, Err(error))) => Err(format!("{program} cannot be read: {error}")),
            Err(_) => {
                // Whether the kill works is seen the next time.
                let _ = child.start_kill();
                self.hanging = Some(child);
                Err(format!("{program} does not answer"))
            }
        }
    }
}

fn read(text: &str) -> Vec<v1::Gpu> {
    text.lines().filter_map(gpu).collect()
}

/// A line such as `0, NVIDIA H100 80GB HBM3, 81559, 81007, 550.54.15, 3`, with memory in mebibytes; `None` for a device
/// that does not work, and for what is no device at all.
fn gpu(line: &str) -> Option<v1::Gpu> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [index, model, total, free, driver, utilisation] = fields[..] else { return None };
    Some(v1::Gpu {
        index: index.parse().ok()?,
        model: model.to_owned(),
        memory_bytes: number(total)? << 20,
        free_bytes: number(free)? << 20,
        driver: driver.to_owned(),
        utilisation_percent: if UNKNOWN.contains(&utilisation) { None } else { Some(utilisation.parse().ok()?) },
    })
}

/// 0 where the number is not known.
fn number(text: &str) -> Option<u64> {
    if UNKNOWN.contains(&text) { Some(0) } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Vec<(u32, u64, u64, Option<u32>)> {
        let of = |gpu: &v1::Gpu| (gpu.index, gpu.memory_bytes >> 20, gpu.free_bytes >> 20, gpu.utilisation_percent);
        read(text).iter().map(of).collect()
    }

    #[test]
    fn every_line_is_a_gpu() {
        let text = "0, NVIDIA H100 80GB HBM3, 81559, 81007, 550.54.15, 3\n1, NVIDIA A2, 15356, 100, 550.54.15, 100\n";
        assert_eq!(seen(text), [(0, 81559, 81007, Some(3)), (1, 15356, 100, Some(100))]);
        let gpu = &read(text)[0];
        assert_eq!((gpu.model.as_str(), gpu.driver.as_str()), ("NVIDIA H100 80GB HBM3", "550.54.15"));
    }

    #[test]
    fn what_is_not_known_of_memory_is_zero_and_of_utilisation_nothing() {
        // A GPU that is split (MIG) has no utilisation of its own.
        assert_eq!(seen("0, NVIDIA A100-SXM4-40GB, 40960, 40337, 535.104.05, [N/A]"), [(0, 40960, 40337, None)]);
        // Memory shared with the processor.
        assert_eq!(seen("0, NVIDIA GB10, [N/A], [N/A], 580.95.05, 0"), [(0, 0, 0, Some(0))]);
        // A part of a split GPU, from within a container that may not look at the whole.
        let part = "0, NVIDIA H100 80GB HBM3 MIG 1g.10gb, [Insufficient Permissions], [Insufficient Permissions], 550.54.15, [N/A]";
        assert_eq!(seen(part), [(0, 0, 0, None)]);
    }

    #[test]
    fn a_device_that_is_lost_is_not_offered_and_the_others_are() {
        let text = "Unable to determine the device handle for GPU0000:04:00.0: Unknown Error\n\
                    1, NVIDIA A2, [GPU is lost], [GPU is lost], 550.54.15, [GPU is lost]\n\
                    2, NVIDIA A2, [Unknown Error], 100, 550.54.15, 0\n\
                    3, NVIDIA A2, 15356, 15000, 550.54.15, 0\n";
        assert_eq!(seen(text), [(3, 15356, 15000, Some(0))]);
        assert_eq!(seen("No devices were found\n\n"), []);
    }

    fn tool(script: &str) -> Smi {
        Smi::new(&["sh", "-c", script])
    }

    #[tokio::test]
    async fn a_tool_that_fails_says_nothing_of_the_gpus_unless_it_lists_some() {
        let line = "echo '0, NVIDIA A2, 15356, 15000, 550.54.15, 0'";
        assert_eq!(tool(line).list().await.unwrap().len(), 1);
        let one_is_broken = format!("{line}; exit 255");
        assert_eq!(tool(&one_is_broken).list().await.unwrap().len(), 1);
        assert_eq!(tool("echo No devices were found").list().await.unwrap(), []);
        let failed = tool("echo NVIDIA-SMI has failed; exit 9").list().await.unwrap_err();
        assert!(failed.contains('9'), "{failed}");
        let missing = Smi::new(&["/no/such/tool"]).list().await.unwrap_err();
        assert!(missing.contains("cannot be started"), "{missing}");
    }

    #[tokio::test]
    async fn a_tool_that_hangs_is_not_started_again_until_it_is_gone() {
        let mut smi = tool("exec sleep 600");
        let late = smi.list_within(Duration::from_millis(50)).await.unwrap_err();
        assert!(late.contains("does not answer"), "{late}");
        let hanging = smi.hanging.as_mut().unwrap();
        tokio::time::timeout(PATIENCE, hanging.wait()).await.unwrap().unwrap();
        let late = smi.list_within(Duration::from_millis(50)).await.unwrap_err();
        assert!(late.contains("does not answer"), "it was killed, so another one was started: {late}");

        let still_there = tool("exec sleep 600").words;
        let child = Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let mut smi = Smi { words: still_there, hanging: Some(child) };
        let hangs = smi.list().await.unwrap_err();
        assert!(hangs.contains("hangs"), "{hangs}");
    }
}
