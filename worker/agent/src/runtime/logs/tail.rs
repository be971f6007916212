//! Where the last lines of a log begin.

use std::io;
use std::os::unix::fs::FileExt as _;

use super::files::Numbered;
use super::line;

const BLOCK: usize = 64 << 10;

/// The file and the offset in it at which the last `lines` whole lines begin. Files come the oldest first;
/// there is at least one.
///
/// A line that was written in pieces counts once. Pieces at the end whose line has not ended yet come in
/// addition.
pub(super) fn start(files: &[Numbered], lines: u64) -> io::Result<(usize, u64)> {
    let mut left = lines;
    for (index, one) in files.iter().enumerate().rev() {
        match search(one, &mut left)? {
            Some(offset) => return Ok((index, offset)),
            None => continue,
        }
    }
    Ok((0, 0))
}

/// The offset behind the whole line before the last `left` ones; `None` when the file has no more than
/// those, which are then taken off.
fn search(one: &Numbered, left: &mut u64) -> io::Result<Option<u64>> {
    let mut end = one.file.metadata()?.len();
    // The rest of a line whose beginning lies in the block before.
    let mut carried: Vec<u8> = Vec::new();
    while end > 0 {
        let length = end.min(BLOCK as u64);
        let start = end - length;
        let mut block = vec![0; usize::try_from(length).expect("a block is small")];
        one.file.read_exact_at(&mut block, start)?;
        block.append(&mut carried);
        // Lines from behind; what is before the first newline belongs to the block before.
        let mut behind = block.len();
        while let Some(newline) = block[..behind].iter().rposition(|byte| *byte == b'\n') {
            let begins =
                block[..newline].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            if begins == 0 && start > 0 {
                break;
            }
            if line::is_whole(&block[begins..newline]) {
                if *left == 0 {
                    return Ok(Some(start + newline as u64 + 1));
                }
                *left -= 1;
            }
            behind = begins;
        }
        carried = block[..behind].to_vec();
        end = start;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;
    use std::sync::Arc;

    use super::*;

    fn file(text: &[u8]) -> Numbered {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        Numbered { file: Arc::new(file), number: 1 }
    }

    fn rest(files: &[Numbered], lines: u64) -> String {
        let (index, offset) = start(files, lines).unwrap();
        let mut text = Vec::new();
        for (place, one) in files.iter().enumerate().skip(index) {
            let from = if place == index { offset } else { 0 };
            text.extend(read(&one.file, from));
        }
        String::from_utf8(text).unwrap()
    }

    fn read(file: &File, from: u64) -> Vec<u8> {
        let length = file.metadata().unwrap().len() - from;
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        file.read_exact_at(&mut bytes, from).unwrap();
        bytes
    }

    #[test]
    fn the_last_lines_are_found_across_files_and_blocks() {
        let long = "x".repeat(40_000);
        let (a, b) = (
            format!("t s F 1\nt s F {long}2\nt s F 3\n"),
            format!("t s F 4\nt s P {long}5\nt s F end of 5\nt s F 6\nt s P 7"),
        );
        let files = [file(a.as_bytes()), file(format!("{b}\n").as_bytes())];
        let all = format!("{a}{b}\n");
        let from = |text: &str| all[all.find(text).unwrap()..].to_owned();
        assert_eq!(rest(&files, 0), from("t s P 7"));
        assert_eq!(rest(&files, 1), from("t s F 6"));
        assert_eq!(rest(&files, 2), from("t s P x"));
        assert_eq!(rest(&files, 3), from("t s F 4"));
        assert_eq!(rest(&files, 4), from("t s F 3"));
        assert_eq!(rest(&files, 5), from("t s F x"));
        assert_eq!(rest(&files, 6), all);
        assert_eq!(rest(&files, 60), all);
    }

    #[test]
    fn an_empty_log_has_an_empty_tail() {
        assert_eq!(start(&[file(b"")], 5).unwrap(), (0, 0));
    }
}
