//! Where the prompt of a pair stands when it is not called `prompt`.

use super::*;

#[test]
fn the_prompt_of_a_pair_may_be_alpacas_sharegpts_or_a_conversation() {
    let rows = [
        json!({"instruction": "What is water?", "system": "Be kind", "history": [["Hi", "Yes?"]],
               "chosen": "It is H2O.", "rejected": "It is wine."}),
        json!({"conversations": [say("system", "Be kind"), user("Hi"), {"from": "gpt", "value": "Yes?"}, user("What is water?")],
               "chosen": {"from": "gpt", "value": "It is H2O."}, "rejected": {"from": "gpt", "value": "It is wine."}}),
        json!({"system": "Be kind", "messages": [user("Hi"), assistant("Yes?"), user("What is water?"), assistant("It is H2O.")],
               "chosen": [assistant("It is H2O.")], "rejected": [assistant("It is wine.")]}),
    ];
    for row in rows {
        let found = only(preferences(std::slice::from_ref(&row)));
        let Prompt::Chat(prompt) = found.prompt else {
            panic!("a conversation: {row}")
        };
        let said: Vec<&str> = prompt.iter().map(|turn| turn.content.as_str()).collect();
        assert_eq!(said, ["Be kind", "Hi", "Yes?", "What is water?"], "{row}");
        let both = (found.chosen, found.rejected);
        assert_eq!(both, (answer("It is H2O."), answer("It is wine.")), "{row}");
    }
}

#[test]
fn a_prompt_under_an_unknown_name_is_not_taken_from_what_the_answers_share() {
    let row = json!({"question": "Capital of France?", "chosen": "The capital is Paris.", "rejected": "The capital is Rome."});
    let error = failure(preferences(&[row]));
    assert!(
        error.contains("`prompt` is missing, and `question` is not read"),
        "{error}"
    );
    assert!(error.contains("--column prompt=question"), "{error}");
}
