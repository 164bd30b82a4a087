#compdef smscancel
# zsh completion for smscancel.
_smscancel() {
    local -a found described
    local line
    found=("${(@f)$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    [[ $PREFIX == --*=* ]] && [[ ${found[1]} == :* ]] && compset -P '*='
    case ${found[1]} in
    :files) _files ;;
    :directories) _files -/ ;;
    '') return 1 ;;
    *)
        for line in "${found[@]}"; do
            described+=("${${line%%$'\t'*}//:/\\:}${${(M)line:#*$'\t'*}:+:${line#*$'\t'}}")
        done
        _describe 'smscancel' described
        ;;
    esac
}
if [[ ${funcstack[1]} == _smscancel ]]; then
    _smscancel "$@"
else
    compdef _smscancel smscancel
fi
