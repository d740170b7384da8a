use alloc::format;

use super::*;

#[test]
fn fields_come_back_in_order_with_their_tokens_and_flags() {
    let mut list = FieldList::new();
    list.push(b":path", b"/a.B/C");
    list.push_known(Token::Te, b"trailers");
    list.push(b"X-Upper", b" padded");
    list.push_sensitive(b"authorization", b"Bearer 1");
    list.push(b"trace-bin", b"AAE");

    let tokens: alloc::vec::Vec<_> = list.iter().map(|field| field.token).collect();
    assert_eq!(tokens, [Token::Path, Token::Te, Token::Other, Token::Authorization, Token::Other]);
    let upper = list.get(2).unwrap();
    assert!(!upper.flags.is_name_valid() && !upper.flags.is_value_valid());
    assert!(list.get(3).unwrap().flags.is_sensitive());
    assert!(list.get(4).unwrap().flags.is_binary());
    assert_eq!(list.get(5), None);
    assert_eq!(list.find(Token::Te).unwrap().value, b"trailers");
    assert_eq!(list.find(Token::Method), None);
    assert_eq!(list.iter().len(), 5);
    assert_eq!(list.iter().next_back(), list.get(4));
}

#[test]
fn the_size_counts_thirty_two_for_each_field() {
    let mut list = FieldList::new();
    assert_eq!(list.size(), 0);
    list.push(b"", b"");
    assert_eq!(list.size(), 32);
    list.push(b"name", b"value");
    assert_eq!(list.size(), 32 + 41);
}

#[test]
fn a_clone_reuses_memory_and_equals_its_source() {
    let source: FieldList = (0..40).map(|i| (format!("name-{i}"), format!("{i}"))).collect();
    let mut copy = FieldList::new();
    copy.clone_from(&source);
    let held = copy.heap_bytes();
    copy.clear();
    assert!(copy.is_empty());
    assert_ne!(copy, source);
    copy.clone_from(&source);
    assert!(copy.same_bytes(&source));
    assert_eq!(copy.heap_bytes(), held);
    assert_eq!(copy, source.clone());
}

#[test]
fn a_flag_or_a_boundary_alone_makes_lists_differ() {
    let plain: FieldList = [("ab", "c")].into_iter().collect();
    let moved: FieldList = [("a", "bc")].into_iter().collect();
    let mut sensitive = FieldList::new();
    sensitive.push_sensitive(b"ab", b"c");
    assert_ne!(plain, moved);
    assert_ne!(plain, sensitive);
}

#[test]
fn an_appended_list_equals_the_fields_pushed_one_by_one() {
    let head: FieldList = [(":method", "POST"), ("te", "trailers")].into_iter().collect();
    let tail: FieldList = [("x", "y"), ("a-bin", "")].into_iter().collect();
    let mut joined = head.clone();
    joined.extend_from(&tail);
    joined.extend_from(&FieldList::new());
    let pushed: FieldList =
        [(":method", "POST"), ("te", "trailers"), ("x", "y"), ("a-bin", "")].into_iter().collect();
    assert_eq!(joined, pushed);
}

#[test]
fn memory_is_given_back_but_never_fields() {
    let mut list: FieldList = (0..100).map(|i| (format!("name-{i}"), "value")).collect();
    let copy = list.clone();
    list.shrink(0);
    assert_eq!(list, copy);
    list.clear();
    assert!(list.heap_bytes() > 1024);
    list.shrink(1024);
    assert!(list.heap_bytes() <= 1024);
    list.shrink(0);
    assert_eq!(list.heap_bytes(), 0);
}

#[test]
fn debug_escapes_text_and_hides_sensitive_values() {
    let mut list = FieldList::new();
    list.push(b"a", b"\x00\xff\n");
    list.push_sensitive(b"cookie", b"secret");
    assert_eq!(format!("{list:?}"), r"[a: \x00\xff\n, cookie: <sensitive>]");
    assert_eq!(format!("{:?}", list.get(0).unwrap().flags), "{VALUE_INVALID}");
}

#[test]
fn memory_is_given_back_down_to_what_is_asked_for_and_no_further() {
    let mut list: FieldList = (0..1000).map(|i| (format!("n{i:04}"), [b'v'; 100])).collect();
    list.clear();
    let held = list.heap_bytes();
    list.shrink(held);
    assert_eq!(list.heap_bytes(), held);
    list.shrink(8000);
    assert_eq!(list.heap_bytes(), 8000);
    list.shrink(0);
    assert_eq!(list.heap_bytes(), 0);
}
