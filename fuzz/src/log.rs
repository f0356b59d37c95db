//! A log file, read from any bytes.

use std::convert::Infallible;

use hai_core::engine::Policies;
use hai_core::log::{LogReader, Names, Replay, header_line, record_line};

/// The reader never panics and names a line; what it accepts is written as it reads, and is again a log, with names and
/// without. A log from its beginning can be decided anew up to its first difference. States are left to `wire_json`: one
/// that was forged is taken for true.
pub fn log_lines(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = || text.lines().map(Ok::<_, Infallible>);
    let mut reader = match LogReader::open(lines()) {
        Ok(reader) => reader,
        Err(error) => return assert!(!error.to_string().is_empty(), "refused without a word"),
    };
    let header = reader.header().clone();
    let (mut records, mut last) = (Vec::new(), 0);
    for read in &mut reader {
        match read {
            Ok(numbered) => {
                assert!(numbered.line > last, "lines run backwards");
                last = numbered.line;
                records.push(numbered);
            }
            Err(error) => assert!(error.to_string().starts_with("line "), "no line in {error}"),
        }
    }
    let digest = reader.chain_so_far().digest();
    let written: Vec<String> =
        std::iter::once(header_line(&header)).chain(records.iter().map(|read| record_line(&read.record))).collect();
    let mut again = LogReader::open(written.iter().map(Ok::<_, Infallible>)).expect("what was written is a log");
    assert_eq!(*again.header(), header);
    let same = (&mut again).map(|read| read.expect("its chain fits").record);
    assert!(same.eq(records.iter().map(|read| read.record.clone())), "it reads back as something else");
    assert_eq!(again.chain_so_far().digest(), digest);
    if header.state.is_some() {
        return;
    }
    let mut names = Names::default();
    names.see_header(&header);
    records.iter().for_each(|read| names.see(&read.record));
    let mut pseudonyms = names.number();
    let nameless = std::iter::once(header_line(&pseudonyms.header(header.clone())));
    let nameless: Vec<_> =
        nameless.chain(records.iter().map(|read| record_line(&pseudonyms.record(read.record.clone())))).collect();
    let nameless = LogReader::open(nameless.iter().map(Ok::<_, Infallible>)).expect("without names it is a log too");
    let nameless: Vec<_> = nameless.map(|read| read.expect("its chain fits")).collect();
    assert_eq!(nameless.len(), records.len());
    let mut replay = Replay::new(&header, Policies::default());
    for read in &records {
        if let Err(difference) = replay.take(read.line, &read.record) {
            assert!(difference.to_string().starts_with(&format!("line {} ", read.line)), "{difference}");
            break;
        }
    }
}
